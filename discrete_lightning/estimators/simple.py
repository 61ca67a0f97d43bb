"""SIMPLE: exact k-subsets forward, the gradient of their marginals backward (Ahmed et al. 2023, arXiv 2210.01941)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from discrete_lightning.estimators.base import Estimator
from discrete_lightning.estimators.straight_through import StraightThrough
from discrete_lightning.functional import simple_subset
from discrete_lightning.functional.log_probability import SubsetDistribution


@dataclass(frozen=True)
class SIMPLE(Estimator):
    """Straight-through for k of K with exact marginals: forward S ~ p(S), backward the gradient of P(i in S) at logits / tau.

    `subset` draws from the conditional Bernoulli distribution, p(S) ~ prod_{i in S} exp(logits_i), not from Plackett-Luce as
    the other estimators do: independent gates that happen to be k. At tau = 1 the gradient of every function that is linear
    in the subset is exact for each draw, not only in the mean. For one category, and for binary variables, the marginals
    are softmax and sigmoid, so it is `StraightThrough`.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> SIMPLE().subset(torch.zeros(2, 5), k=3).sum(-1)
        tensor([3., 3.])
    """

    hard: ClassVar[bool] = True
    subsets: ClassVar[SubsetDistribution] = "conditional_bernoulli"

    def __call__(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        return StraightThrough()(logits, tau, generator)

    def bernoulli(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        return StraightThrough().bernoulli(logits, tau, generator)

    def _subset(self, logits: Tensor, k: int, tau: float | Tensor, generator: torch.Generator | None) -> Tensor:
        return simple_subset(logits, k, tau, generator=generator)
