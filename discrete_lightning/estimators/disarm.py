"""DisARM, for binary variables (Dong et al. 2020, https://arxiv.org/abs/2006.10680)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from discrete_lightning.estimators.base import Estimator
from discrete_lightning.functional import antithetic_bernoulli, disarm
from discrete_lightning.functional._checks import check_tau


@dataclass(frozen=True)
class DisARM(Estimator):
    """Unbiased gradient for Bernoulli variables from one antithetic pair, through `expectation`.

    `tau` is not used, only checked.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> logits = torch.zeros(5000, 1, requires_grad=True)
        >>> DisARM().expectation(lambda b: b[..., 0] ** 3, logits, binary=True).sum().backward()
        >>> bool((logits.grad.mean() - 0.25).abs() < 0.01)
        True
    """

    pathwise: ClassVar[bool] = False
    hard: ClassVar[bool] = True
    categorical: ClassVar[bool] = False

    def evaluations(self, event: Sequence[int], *, binary: bool = False, k: int | None = None) -> int:
        return 2

    def expectation(
        self,
        function: Callable[[Tensor], Tensor],
        logits: Tensor,
        tau: float | Tensor = 1.0,
        generator: torch.Generator | None = None,
        *,
        binary: bool = False,
        k: int | None = None,
    ) -> Tensor:
        if not binary or k is not None:
            raise TypeError("DisARM is for binary variables: take LeaveOneOut for categories")
        check_tau(tau, logits=logits, dim=None)
        pair = antithetic_bernoulli(logits, generator=generator)
        return disarm(function(pair), pair, logits)
