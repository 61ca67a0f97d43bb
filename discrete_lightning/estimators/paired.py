"""Paired: ReinMax in the mean from the slopes of two categories, our own; its gradient is in `functional/paired.py`."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from discrete_lightning.estimators.base import Estimator
from discrete_lightning.functional import paired
from discrete_lightning.functional._checks import check_tau


@dataclass(frozen=True)
class Paired(Estimator):
    """Forward D ~ Categorical(softmax(logits)); backward (1 - p_D) / 2 (g_D - g_j) (e_D - e_j), j drawn from the others.

    Its mean is the gradient of ReinMax at tau = 1, exact for quadratic functions, with more variance. For a layer that has to
    run something for each category to know its slope: a mixture of experts runs two a token, the second without a graph.
    `tau` is not used, only checked. For binary variables it is ReinMax.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> Paired()(torch.zeros(5)).sum()
        tensor(1.)
    """

    hard: ClassVar[bool] = True

    def __call__(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        check_tau(tau, logits=logits)
        return paired(logits, generator=generator)
