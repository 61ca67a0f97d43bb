"""Straight-through Gumbel-softmax: hard forward, relaxed backward (Jang et al. 2016, section 2.2; arXiv 1611.01144)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from discrete_lightning.estimators.base import Estimator
from discrete_lightning.functional import gumbel_sigmoid, gumbel_softmax, relaxed_top_k


@dataclass(frozen=True)
class StraightThroughGumbel(Estimator):
    """Forward one-hot argmax(logits + G), whatever tau; backward the gradient of softmax((logits + G) / tau).

    `subset` draws the k largest of logits + G, with the gradient of their relaxation (see `GumbelSoftmax`).

    Example:
        >>> _ = torch.manual_seed(0)
        >>> StraightThroughGumbel()(torch.zeros(5), tau=0.5).sum()
        tensor(1.)
    """

    hard: ClassVar[bool] = True

    def __call__(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        return gumbel_softmax(logits, tau, hard=True, generator=generator)

    def bernoulli(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        return gumbel_sigmoid(logits, tau, hard=True, generator=generator)

    def _subset(self, logits: Tensor, k: int, tau: float | Tensor, generator: torch.Generator | None) -> Tensor:
        return relaxed_top_k(logits, k, tau, hard=True, generator=generator)
