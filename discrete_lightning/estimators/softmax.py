"""The probabilities themselves instead of a sample (Liu et al. 2018, DARTS, https://arxiv.org/abs/1806.09055)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.estimators.base import Estimator
from discrete_lightning.functional import relaxed_top_k, softmax
from discrete_lightning.functional._checks import check_elements, check_tau
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._temperature import sigmoid_over_tau


@dataclass(frozen=True)
class Softmax(Estimator):
    """y = softmax(logits / tau), without noise; `generator` is not used.

    The gradient is exact for the loss of the mixture, which is not the expected loss of a discrete choice. `subset` is the
    relaxation of the k largest logits, without noise.

    Example:
        >>> Softmax()(torch.zeros(4))
        tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """

    def __call__(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        return softmax(logits, tau).to(logits.dtype)

    def bernoulli(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        check_elements(logits)
        check_tau(tau, logits=logits, dim=None)
        return sigmoid_over_tau(float32(logits), tau).to(logits.dtype)

    def _subset(self, logits: Tensor, k: int, tau: float | Tensor, generator: torch.Generator | None) -> Tensor:
        return relaxed_top_k(logits, k, tau, noise=False)
