"""IndeCateR: the score function, summed over the categories of each variable (De Smet et al. 2023, arXiv 2311.12569)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from discrete_lightning.estimators.base import Estimator
from discrete_lightning.functional import indecater
from discrete_lightning.functional._checks import check_one_kind, check_tau


@dataclass(frozen=True)
class IndeCateR(Estimator):
    """Unbiased for every function, by a sum over the values of one variable at a time, the others drawn.

    For L variables of K categories the function is evaluated samples x (1 + L (K - 1)) times, of which the first `samples`
    have a graph; it need not be differentiable, and has to accept samples (n, B, *event). Exact for one variable, and for a
    sum of functions of one variable each. Also for binary variables, and for k of K, where swaps take the place of values.
    `tau` is not used, only checked.

    Args:
        samples: draws of all variables, >= 1.
        chunk: how many values of variables one call of the function is given at most, >= 1; bounds the memory.

    Example:
        >>> logits = torch.zeros(1, 2, requires_grad=True)
        >>> IndeCateR().expectation(lambda sample: sample[..., 1] ** 3, logits).sum().backward()
        >>> logits.grad
        tensor([[-0.2500,  0.2500]])
    """

    samples: int = 1
    chunk: int = 64
    pathwise: ClassVar[bool] = False
    hard: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.samples < 1 or self.chunk < 1:
            raise ValueError(
                f"IndeCateR: samples and chunk must be at least 1, got samples={self.samples}, chunk={self.chunk}"
            )

    def evaluations(self, event: Sequence[int], *, binary: bool = False, k: int | None = None) -> int:
        variables, categories = (prod(event), 2) if binary else (prod(event[:-1]), event[-1])
        others = categories - 1 if k is None or k == 1 else categories if k < categories else 0
        return self.samples * (1 + variables * others)

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
        return indecater(
            function, logits, samples=self.samples, chunk=self.chunk, binary=binary, k=k, generator=generator
        )
