"""Settings of an architecture search: its optimisers, and what the found network may cost."""

from dataclasses import dataclass

import torch
from torch import nn

from discrete_lightning.functional._arguments import check_at_least, check_not_negative, check_positive
from discrete_lightning.nas.cost_table import Measure
from discrete_lightning.nas.shared_draw import architecture_parameters, weight_parameters


@dataclass(frozen=True)
class CostTarget:
    """A limit of what the found network costs.

    loss = task loss + multiplier * (expected cost / target - 1), where the multiplier rises while the most likely architecture
    costs more than the target and falls while it costs less. The derived network is always within the target: see
    `ArchitectureChoice.decide`.

    Args:
        measure: "parameters", "flops" (of one image) or "latency" (milliseconds of a batch on the device of the search).
        target: in that unit.
        rate: of the multiplier, for each step.
        batch_size: of the batch whose latency is measured.
    """

    measure: Measure
    target: float
    rate: float = 0.02
    batch_size: int = 1

    def __post_init__(self) -> None:
        check_positive(target=self.target, rate=self.rate)
        check_at_least(1, batch_size=self.batch_size)


@dataclass(frozen=True)
class SearchOptimizers:
    """SGD with Nesterov momentum and a cosine for the weights, Adam(0.5, 0.999) for the choices, as in GDAS.

    Args:
        learning_rate: of the weights at the start.
        final_learning_rate: at the end.
        weight_decay: of the weights.
        clip: largest norm of the weights' gradient.
        architecture_learning_rate: of the choices.
        architecture_weight_decay: of the choices.
        architecture_delay: share of the search, in [0, 1), at whose start the weights learn alone, so that operations with
            weights are not judged untrained.
    """

    learning_rate: float = 0.025
    final_learning_rate: float = 0.001
    weight_decay: float = 5e-4
    clip: float = 5.0
    architecture_learning_rate: float = 3e-4
    architecture_weight_decay: float = 1e-3
    architecture_delay: float = 0.0

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.learning_rate, architecture_learning_rate=self.architecture_learning_rate)
        check_positive(clip=self.clip)
        check_not_negative(final_learning_rate=self.final_learning_rate, weight_decay=self.weight_decay)
        check_not_negative(architecture_weight_decay=self.architecture_weight_decay)
        if not 0 <= self.architecture_delay < 1:
            raise ValueError(f"architecture_delay is a share in [0, 1), got {self.architecture_delay}")

    def build(self, network: nn.Module, nesterov: bool = True) -> list[torch.optim.Optimizer]:
        """Those of a network with choices: of its weights, and of its choices."""
        weights = torch.optim.SGD(
            weight_parameters(network),
            self.learning_rate,
            momentum=0.9,
            nesterov=nesterov,
            weight_decay=self.weight_decay,
        )
        choices = torch.optim.Adam(
            architecture_parameters(network),
            self.architecture_learning_rate,
            betas=(0.5, 0.999),
            weight_decay=self.architecture_weight_decay,
        )
        return [weights, choices]
