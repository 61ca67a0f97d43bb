"""Sums over the sparse support of alpha-entmax (Correia et al. 2020, https://arxiv.org/abs/2007.01919)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from discrete_lightning.estimators.base import Estimator, as_pairs
from discrete_lightning.estimators.indecater import IndeCateR
from discrete_lightning.functional._checks import check_one_kind, check_tau
from discrete_lightning.functional.entmax import check_alpha, sparse_logits


@dataclass(frozen=True)
class Entmax(Estimator):
    """D ~ entmax(logits), which leaves most categories out: the exact gradient of the sum over those that are left.

    The distribution is alpha-entmax instead of softmax (`scores`), in evaluation as well: another estimator makes another
    model. Through `expectation`. The gradient to one variable is the sum over its support, without noise; of several each is
    summed, the others drawn, as IndeCateR does it. The function is evaluated for the support alone: for all that some example
    of the batch has. Unbiased for every function, which need not be differentiable. It does not choose subsets. `tau` is not
    used, only checked.

    Args:
        alpha: in (1, 2]; the larger, the fewer categories are left. 2 is `Sparsemax`.
        samples: draws of all variables, >= 1.
        chunk: how many values of variables one call of the function is given at most, >= 1; bounds the memory.

    Example:
        >>> logits = torch.zeros(1, 2, requires_grad=True)
        >>> Entmax().expectation(lambda sample: sample[..., 1] ** 3, logits).sum().backward()
        >>> logits.grad
        tensor([[-0.3536,  0.3536]])
    """

    alpha: float = 1.5
    samples: int = 1
    chunk: int = 64
    pathwise: ClassVar[bool] = False
    hard: ClassVar[bool] = True
    chooses_subsets: ClassVar[bool] = False
    softmax: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        if self.samples < 1 or self.chunk < 1:
            raise ValueError(
                f"{type(self).__name__}: samples and chunk must be at least 1, got samples={self.samples}, "
                f"chunk={self.chunk}"
            )

    def scores(self, logits: Tensor, *, binary: bool = False) -> Tensor:
        if not binary:
            return sparse_logits(logits, self.alpha)
        pair = sparse_logits(as_pairs(logits, 1.0)[0], self.alpha)
        return pair[..., 0] - pair[..., 1]

    def evaluations(self, event: Sequence[int], *, binary: bool = False, k: int | None = None) -> int:
        return IndeCateR(self.samples).evaluations(event, binary=binary, k=k)

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
        self.check_subset(k)
        check_tau(tau, logits=logits, dim=None if binary else -1)
        exact = IndeCateR(self.samples, self.chunk)
        return exact.expectation(
            lambda sample: function(sample.to(logits.dtype)),
            self.scores(logits, binary=binary),
            generator=generator,
            binary=binary,
        )
