"""Gumbel-softmax: relaxed sample forward and backward (Jang et al. 2016, https://arxiv.org/abs/1611.01144)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.estimators.base import Estimator
from discrete_lightning.functional import gumbel_sigmoid, gumbel_softmax, relaxed_top_k


@dataclass(frozen=True)
class GumbelSoftmax(Estimator):
    """y = softmax((logits + G) / tau). Low bias and high variance at a low tau; the model sees mixtures, not choices.

    `subset` is the relaxation of Gumbel top-k (Xie & Ermon 2019, https://arxiv.org/abs/1901.10517).

    Example:
        >>> _ = torch.manual_seed(0)
        >>> round(float(GumbelSoftmax()(torch.zeros(5), tau=0.5).sum()), 4)
        1.0
    """

    def __call__(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        return gumbel_softmax(logits, tau, generator=generator)

    def bernoulli(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        return gumbel_sigmoid(logits, tau, generator=generator)

    def _subset(self, logits: Tensor, k: int, tau: float | Tensor, generator: torch.Generator | None) -> Tensor:
        return relaxed_top_k(logits, k, tau, generator=generator)
