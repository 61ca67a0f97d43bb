"""Straight-through: exact draw forward, gradient of the probabilities backward (Bengio et al. 2013, arXiv 1308.3432)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.estimators.base import Estimator
from discrete_lightning.functional import categorical_one_hot, gumbel_sigmoid, softmax, straight_through


@dataclass(frozen=True)
class StraightThrough(Estimator):
    """Forward D ~ Categorical(softmax(logits)); backward the gradient of softmax(logits / tau).

    With tau = 1 its mean is the exact gradient of every function that is linear in the sample.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> StraightThrough()(torch.zeros(5)).sum()
        tensor(1.)
    """

    def __call__(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        probabilities = softmax(logits, tau).to(logits.dtype)
        return straight_through(categorical_one_hot(logits, generator=generator), probabilities)

    def bernoulli(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        draw = gumbel_sigmoid(logits.detach(), 1.0, hard=True, generator=generator)
        bounded = logits.float().clamp(-1e30, 1e30)  # keeps the gradient to tau finite at infinite log-odds
        return straight_through(draw, torch.sigmoid(bounded / tau).to(logits.dtype))
