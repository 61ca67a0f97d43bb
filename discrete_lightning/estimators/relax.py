"""RELAX: the score function with a learned control variate (Grathwohl et al. 2018, https://arxiv.org/abs/1711.00123)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from discrete_lightning.estimators.base import Estimator, as_pairs
from discrete_lightning.estimators.rebar import of_ones
from discrete_lightning.functional import relax
from discrete_lightning.functional._checks import check_one_kind, check_tau
from discrete_lightning.functional.gumbel_top_k import all_chosen


@dataclass(frozen=True)
class RELAX(Estimator):
    """Unbiased for every function, with a control variate c(z) = eta f(relaxed sample) + surrogate(z), through `expectation`.

    `surrogate` is a module of your own that maps perturbed log-probabilities (B, *event) of an event of one-hot vectors, in
    float32, to numbers (B,); for binary variables it gets the log-odds and their noise, in the shape of the logits. Its
    parameters get the gradient of the squared gradient in the same backward pass, which lowers the variance. The estimator does
    not own them: make the module an attribute of your model as well, so that an optimiser and a checkpoint have them.

        self.surrogate = MySurrogate()
        self.latent = RelaxedCategorical(RELAX(self.surrogate))

    Without a surrogate it is REBAR. `tau` gets no gradient.

    Args:
        surrogate: see above.
        eta: weight of the function at the relaxed sample. With 0 and a surrogate the function need not be differentiable.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> logits = torch.zeros(5000, 2, requires_grad=True)
        >>> surrogate = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Flatten(0))
        >>> RELAX(surrogate, eta=0.0).expectation(lambda b: b[..., 1] ** 3, logits).mean().backward()
        >>> bool((logits.grad.sum(0) - torch.tensor([-0.25, 0.25])).abs().max() < 0.05)
        True
        >>> surrogate[0].weight.grad is not None
        True
    """

    surrogate: Callable[[Tensor], Tensor] | None = None
    eta: float = 1.0
    pathwise: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.eta):
            raise ValueError(f"RELAX: eta must be finite, got {self.eta}")

    def evaluations(self, event: Sequence[int], *, binary: bool = False, k: int | None = None) -> int:
        return 2 if self.eta else 1

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
            chosen = 1 if k is None else k
            return relax(function, self.surrogate, logits, tau, eta=self.eta, k=chosen, generator=generator)
        pairs, tau = as_pairs(logits, tau)
        surrogate = None if self.surrogate is None else of_log_odds(self.surrogate)
        return relax(of_ones(function, logits.dtype), surrogate, pairs, tau, eta=self.eta, generator=generator)


def of_log_odds(surrogate: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A surrogate of noisy log-odds, as a function of the perturbed log-probabilities (..., 2) of 1 and 0."""
    return lambda z: surrogate(z[..., 0] - z[..., 1])
