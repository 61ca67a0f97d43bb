"""Gapped straight-through (Fan et al. 2022, https://arxiv.org/abs/2206.07235)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from discrete_lightning.estimators.base import Estimator
from discrete_lightning.functional import gapped_straight_through, gapped_subset


@dataclass(frozen=True)
class GappedStraightThrough(Estimator):
    """Forward D ~ Categorical(softmax(logits)); backward through a softmax with logits shifted so that D leads by `gap`.

    `subset` does the same with the relaxation of the k largest: the k that were drawn lead.

    Args:
        gap: >= 0.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> GappedStraightThrough(gap=1.0)(torch.zeros(5)).sum()
        tensor(1.)
    """

    gap: float = 1.0
    hard: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.gap < float("inf"):
            raise ValueError(f"GappedStraightThrough: gap must be >= 0 and finite, got {self.gap}")

    def __call__(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        return gapped_straight_through(logits, tau, gap=self.gap, generator=generator)

    def _subset(self, logits: Tensor, k: int, tau: float | Tensor, generator: torch.Generator | None) -> Tensor:
        return gapped_subset(logits, k, tau, gap=self.gap, generator=generator)
