"""REBAR: the score function less the loss of a relaxed sample (Tucker et al. 2017, https://arxiv.org/abs/1703.07370)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from discrete_lightning.estimators.base import Estimator, as_pairs
from discrete_lightning.functional import rebar
from discrete_lightning.functional._checks import check_one_kind, check_tau
from discrete_lightning.functional.gumbel_top_k import all_chosen


@dataclass(frozen=True)
class REBAR(Estimator):
    """Unbiased for every differentiable function, at every temperature, through `expectation`.

    The function is called at the draw, and at a relaxed sample of the same noise at `tau`, whose gradient serves as a control
    variate. The closer the two losses, the less variance. `tau` gets no gradient.

    Args:
        eta: weight of the control variate; 0 is the score function.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> logits = torch.zeros(5000, 2, requires_grad=True)
        >>> REBAR().expectation(lambda sample: sample[..., 1] ** 3, logits, 0.5).mean().backward()
        >>> bool((logits.grad.sum(0) - torch.tensor([-0.25, 0.25])).abs().max() < 0.02)
        True
    """

    eta: float = 1.0
    pathwise: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.eta):
            raise ValueError(f"REBAR: eta must be finite, got {self.eta}")

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
        check_one_kind(binary, k)
        check_tau(tau, logits=logits, dim=None if binary else -1)
        if k is not None and k == logits.shape[-1]:
            return function(all_chosen(logits))
        if not binary:
            return rebar(function, logits, tau, eta=self.eta, k=1 if k is None else k, generator=generator)
        pairs, tau = as_pairs(logits, tau)
        return rebar(of_ones(function, logits.dtype), pairs, tau, eta=self.eta, generator=generator)


def of_ones(function: Callable[[Tensor], Tensor], dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """`function` of binary samples, as a function of samples (..., 2) of two categories, the first for 1."""
    return lambda pairs: function(pairs[..., 0].to(dtype))
