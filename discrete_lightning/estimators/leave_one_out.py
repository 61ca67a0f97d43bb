"""Leave-one-out REINFORCE (Kool et al. 2019, https://openreview.net/forum?id=r1lgTGL5DE)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from discrete_lightning.estimators.base import Estimator
from discrete_lightning.functional import (
    categorical_one_hot,
    gumbel_sigmoid,
    leave_one_out,
    log_probability,
    subset_k_hot,
)
from discrete_lightning.functional._checks import check_one_kind, check_tau
from discrete_lightning.functional._keyed import repeated


@dataclass(frozen=True)
class LeaveOneOut(Estimator):
    """Score-function gradient with the mean of the other samples as baseline: unbiased for every function.

    The function need not be differentiable. Use `expectation`, since the losses are needed; it also takes subsets (k). The
    function gets samples (samples, B, *event) at once. `tau` is not used, only checked.

    Args:
        samples: m >= 2 for each example.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> logits = torch.zeros(1, 2, requires_grad=True)
        >>> loss = LeaveOneOut(samples=1000).expectation(lambda sample: sample[..., 1] ** 3, logits)
        >>> loss.sum().backward()
        >>> bool((logits.grad - torch.tensor([[-0.25, 0.25]])).abs().max() < 0.02)
        True
    """

    samples: int = 2
    pathwise: ClassVar[bool] = False
    hard: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise ValueError(
                f"LeaveOneOut: samples must be at least 2 (each is the others' baseline), got {self.samples}"
            )

    def evaluations(self, event: Sequence[int], *, binary: bool = False, k: int | None = None) -> int:
        return self.samples

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
        generator = repeated(generator, self.samples)
        many = logits.detach().expand(self.samples, *logits.shape)
        if binary:
            sample = gumbel_sigmoid(many, hard=True, generator=generator)
        elif k is None:
            sample = categorical_one_hot(many, generator=generator)
        else:
            sample = subset_k_hot(many, k, generator=generator)
        log_p = log_probability(logits, sample, binary=binary, k=k)
        return leave_one_out(function(sample), log_p.flatten(2).sum(2) if log_p.ndim > 2 else log_p)
