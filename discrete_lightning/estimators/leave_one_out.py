"""Leave-one-out REINFORCE (Kool et al. 2019, https://openreview.net/forum?id=r1lgTGL5DE)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from discrete_lightning.estimators.base import Estimator
from discrete_lightning.functional import categorical_one_hot, gumbel_sigmoid, leave_one_out
from discrete_lightning.functional._precision import float32


@dataclass(frozen=True)
class LeaveOneOut(Estimator):
    """Score-function gradient with the mean of the other samples as baseline: unbiased for every function, none needed.

    Only `expectation` serves, since it needs the losses. The function sees (samples, B, *event) at once.

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

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise ValueError(
                f"LeaveOneOut: samples must be at least 2 (each is the others' baseline), got {self.samples}"
            )

    def expectation(
        self,
        function: Callable[[Tensor], Tensor],
        logits: Tensor,
        tau: float | Tensor = 1.0,
        generator: torch.Generator | None = None,
        *,
        binary: bool = False,
    ) -> Tensor:
        many = logits.expand(self.samples, *logits.shape)
        if binary:
            sample = gumbel_sigmoid(many.detach(), hard=True, generator=generator)
            odds = float32(logits).clamp(-1e30, 1e30).expand_as(many)
            log_p = -nn.functional.binary_cross_entropy_with_logits(odds, sample.to(odds.dtype), reduction="none")
        else:
            sample = categorical_one_hot(many, generator=generator)
            scores = torch.log_softmax(float32(logits), -1).clamp_min(-1e30)  # 0 * -inf at a masked category
            log_p = (sample.to(scores.dtype) * scores).sum(-1)
        return leave_one_out(function(sample), log_p.flatten(2).sum(2) if log_p.ndim > 2 else log_p)
