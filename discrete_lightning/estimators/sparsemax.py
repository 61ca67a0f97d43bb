"""Sums over the support of sparsemax (Correia et al. 2020, https://arxiv.org/abs/2007.01919)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from discrete_lightning.estimators.base import Estimator
from discrete_lightning.estimators.entmax import Entmax
from discrete_lightning.functional._checks import check_one_kind


@dataclass(frozen=True)
class Sparsemax(Estimator):
    """D ~ sparsemax(logits), with the exact gradient of the sum over its support: `Entmax` with alpha = 2.

    Args:
        samples: draws of all variables, >= 1.
        chunk: how many values of variables one call of the function is given at most, >= 1; bounds the memory.

    Example:
        >>> logits = torch.zeros(1, 2, requires_grad=True)
        >>> Sparsemax().expectation(lambda sample: sample[..., 1] ** 3, logits).sum().backward()
        >>> logits.grad
        tensor([[-0.5000,  0.5000]])
    """

    samples: int = 1
    chunk: int = 64
    pathwise: ClassVar[bool] = False
    hard: ClassVar[bool] = True
    chooses_subsets: ClassVar[bool] = False
    softmax: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.samples < 1 or self.chunk < 1:
            raise ValueError(
                f"Sparsemax: samples and chunk must be at least 1, got samples={self.samples}, chunk={self.chunk}"
            )

    def scores(self, logits: Tensor, *, binary: bool = False) -> Tensor:
        return self._entmax().scores(logits, binary=binary)

    def evaluations(self, event: Sequence[int], *, binary: bool = False, k: int | None = None) -> int:
        return self._entmax().evaluations(event, binary=binary, k=k)

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
        return self._entmax().expectation(function, logits, tau, generator, binary=binary, k=k)

    def _entmax(self) -> Entmax:
        return Entmax(2.0, self.samples, self.chunk)
