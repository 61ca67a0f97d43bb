"""ReinMax of several stratified samples: our own combination of Liu et al. 2023 (arXiv 2304.08612) and systematic sampling."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from discrete_lightning.estimators.base import Estimator, as_pairs
from discrete_lightning.functional import reinmax_subset, stratified_reinmax
from discrete_lightning.functional._checks import check_one_kind, check_tau
from discrete_lightning.functional._keyed import repeated


@dataclass(frozen=True)
class StratifiedReinMax(Estimator):
    """ReinMax, averaged over m samples of each example that spread over their distribution. Through `expectation`.

    The mean is that of ReinMax, for less variance than m independent samples have; the function's own parameters gain
    likewise. The function gets samples (m, B, *event) at once. Subsets (k) are m independent draws.

    Args:
        samples: m >= 1 for each example.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> logits = torch.zeros(1, 2, requires_grad=True)
        >>> StratifiedReinMax(samples=2).expectation(lambda sample: sample[..., 1] ** 2, logits).sum().backward()
        >>> logits.grad
        tensor([[-0.2500,  0.2500]])
    """

    samples: int = 4
    pathwise: ClassVar[bool] = False
    hard: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"StratifiedReinMax: samples must be at least 1, got {self.samples}")

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
        if binary:
            pairs, tau = as_pairs(logits, tau)
            sample = stratified_reinmax(pairs, tau, samples=self.samples, generator=generator)[..., 0].to(logits.dtype)
        elif k is None or k == 1:
            sample = stratified_reinmax(logits, tau, samples=self.samples, generator=generator)
        else:
            many = logits.expand(self.samples, *logits.shape)
            sample = reinmax_subset(many, k, tau, generator=repeated(generator, self.samples))
        return function(sample).mean(0)
