"""I-MLE: implicit maximum likelihood (Niepert et al. 2021, https://arxiv.org/abs/2106.01798)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from discrete_lightning.estimators.base import Estimator
from discrete_lightning.functional import implicit_mle


@dataclass(frozen=True)
class IMLE(Estimator):
    """Forward an exact draw by perturbing logits; backward its difference from the draw at logits moved by `tau` along -g.

    The gradient is a finite difference for the same noise, averaged over `samples` noises that lead to the draw; 0 in rows
    that change for none of them. `tau` is the step's size.

    Args:
        samples: of the noise, >= 1.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> IMLE().subset(torch.zeros(2, 5), k=3).sum(-1)
        tensor([3., 3.])
    """

    samples: int = 10
    hard: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"IMLE: samples must be at least 1, got {self.samples}")

    def __call__(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        return implicit_mle(logits, tau, samples=self.samples, generator=generator)

    def _subset(self, logits: Tensor, k: int, tau: float | Tensor, generator: torch.Generator | None) -> Tensor:
        return implicit_mle(logits, tau, k=k, samples=self.samples, generator=generator)
