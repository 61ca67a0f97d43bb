"""Straight-through: exact draw forward, gradient of the probabilities backward (Bengio et al. 2013, arXiv 1308.3432)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from discrete_lightning.estimators.base import Estimator
from discrete_lightning.functional import (
    gumbel_sigmoid,
    softmax,
    softmax_draw,
    straight_through,
    straight_through_one_hot,
    straight_through_subset,
)
from discrete_lightning.functional._checks import check_categories, check_elements, check_tau
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._temperature import sigmoid_over_tau


@dataclass(frozen=True)
class StraightThrough(Estimator):
    """Forward D ~ Categorical(softmax(logits)); backward the gradient of softmax(logits / tau).

    With tau = 1 its mean is the exact gradient of every function that is linear in the sample. `subset` draws k categories
    without replacement; its gradient is that of their inclusion probabilities, and exact in the same sense.

    Args:
        backward_tau: decouples the two temperatures (https://arxiv.org/abs/2410.13331): forward D ~ softmax(logits / tau),
            backward softmax(logits / backward_tau). None: forward at 1, backward at tau.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> StraightThrough()(torch.zeros(5)).sum()
        tensor(1.)
    """

    backward_tau: float | None = None
    hard: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.backward_tau is not None:
            check_tau(self.backward_tau, "StraightThrough: backward_tau")

    def _temperatures(self, tau: float | Tensor) -> tuple[float | Tensor, float | Tensor]:
        return (1.0, tau) if self.backward_tau is None else (tau, self.backward_tau)

    def __call__(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        check_categories(logits, -1)
        check_tau(tau, logits=logits)
        forward, backward = self._temperatures(tau)
        if isinstance(forward, float | int) and isinstance(backward, float | int) and forward == backward:
            soft, index = softmax_draw(logits, backward, generator=generator)
        else:
            soft = softmax(logits, backward)
            with torch.no_grad():
                index = softmax_draw(logits, forward, generator=generator)[1]
        return straight_through_one_hot(index, soft.to(logits.dtype), soft[..., 0])

    def bernoulli(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        check_elements(logits)
        check_tau(tau, logits=logits, dim=None)
        forward, backward = self._temperatures(tau)
        with torch.no_grad():
            draw = gumbel_sigmoid(float32(logits) / forward, hard=True, generator=generator).to(logits.dtype)
        return straight_through(draw, sigmoid_over_tau(float32(logits), backward).to(logits.dtype))

    def _subset(self, logits: Tensor, k: int, tau: float | Tensor, generator: torch.Generator | None) -> Tensor:
        forward, backward = self._temperatures(tau)
        return straight_through_subset(logits, k, backward, forward_tau=forward, generator=generator)
