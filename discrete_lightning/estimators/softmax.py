"""No draw: the probabilities themselves stand for the sample (Liu et al. 2018, DARTS, https://arxiv.org/abs/1806.09055)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.estimators.base import Estimator
from discrete_lightning.functional import softmax


@dataclass(frozen=True)
class Softmax(Estimator):
    """y = softmax(logits / tau), whatever the generator: what uses it sees the same mixture each time.

    The gradient is exact for the mixture and says nothing of the discrete choices: the gap between the two is the price.

    Example:
        >>> Softmax()(torch.zeros(4))
        tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """

    def __call__(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        return softmax(logits, tau).to(logits.dtype)

    def bernoulli(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        return torch.sigmoid(logits / tau)
