"""Several oracles as one: a weighted sum, and the scores of each for a trade-off."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class WeightedSum(nn.Module):
    """score(x) = sum_i weight_i * oracle_i(x): raise one (weight > 0), keep another low (weight < 0).

    A SequenceDesigner with such an oracle reports each oracle's score, and which designs are on the Pareto front of all
    sequences that were ever scored.

    Args:
        oracles: modules of one-hot sequences (batch, letters, length) to scores (batch,) or (batch, 1).
        weights: as many numbers, none of them 0.
        names: of the oracles in reports; their classes, numbered, if None.

    Raises:
        ValueError: if the numbers of oracles, weights and names differ, or a weight is 0.

    Example:
        >>> from discrete_lightning.oracles import MotifScan
        >>> both = WeightedSum([MotifScan("GATA2"), MotifScan("JUN")], weights=[1.0, -0.5])
        >>> x = torch.nn.functional.one_hot(torch.arange(40) % 4, 4).T[None].float()
        >>> bool(torch.allclose(both(x), (both.components(x) * torch.tensor([1.0, -0.5])).sum(1)))
        True
    """

    weights: Tensor

    def __init__(
        self, oracles: Sequence[nn.Module], weights: Sequence[float], names: Sequence[str] | None = None
    ) -> None:
        super().__init__()
        labels = (
            [f"{type(oracle).__name__}_{i}" for i, oracle in enumerate(oracles, 1)] if names is None else list(names)
        )
        if not len(oracles) == len(weights) == len(set(labels)) or not oracles:
            raise ValueError(
                f"WeightedSum needs as many weights, and different names, as oracles: got {len(oracles)} oracles, "
                f"weights {list(weights)}, names {labels}"
            )
        if not all(weights):
            raise ValueError(f"WeightedSum: a weight of 0 leaves its oracle out, got weights {list(weights)}")
        self.oracles, self.names = nn.ModuleList(oracles), labels
        self.register_buffer("weights", torch.tensor([float(weight) for weight in weights]), persistent=False)

    def components(self, x: Tensor) -> Tensor:
        """Scores (batch, oracles) of each oracle."""
        return torch.stack([oracle(x).flatten() for oracle in self.oracles], 1)

    def combine(self, components: Tensor) -> Tensor:
        """The score (batch,) of the scores of each oracle (batch, oracles)."""
        return (components * self.weights.to(components)).sum(1)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (batch,)."""
        return self.combine(self.components(x))

    def better(self, components: Tensor) -> Tensor:
        """The scores of each oracle, with signs such that more is better."""
        return components * self.weights.sign().to(components)
