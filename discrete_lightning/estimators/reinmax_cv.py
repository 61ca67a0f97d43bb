"""ReinMax-CV: ReinMax with a relaxed sample as control variate (Wang & Bui 2026, https://arxiv.org/abs/2603.08257)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from discrete_lightning.estimators.base import Estimator
from discrete_lightning.functional import reinmax_cv
from discrete_lightning.functional._checks import check_tau


@dataclass(frozen=True)
class ReinMaxCV(Estimator):
    """Forward D ~ Categorical(softmax(logits)); backward ReinMax at `tau` and a control variate at `relaxation_tau`.

    Args:
        samples: of the conditional noise, >= 1.
        eta: weight of the control variate; 0 is ReinMax.
        relaxation_tau: temperature of the control variate, > 0.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> ReinMaxCV(samples=10)(torch.zeros(5)).sum()
        tensor(1.)
    """

    samples: int = 10
    eta: float = 1.0
    relaxation_tau: float = 1.0
    hard: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"ReinMaxCV: samples must be at least 1, got {self.samples}")
        if not math.isfinite(self.eta):
            raise ValueError(f"ReinMaxCV: eta must be finite, got {self.eta}")
        check_tau(self.relaxation_tau, "ReinMaxCV: relaxation_tau")

    def __call__(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        return reinmax_cv(
            logits,
            tau,
            samples=self.samples,
            eta=self.eta,
            relaxation_tau=self.relaxation_tau,
            generator=generator,
        )
