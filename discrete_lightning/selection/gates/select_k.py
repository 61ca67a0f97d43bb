"""Exactly k of D entries."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from discrete_lightning.estimators import Estimator, StraightThrough
from discrete_lightning.functional import subset_k_hot
from discrete_lightning.layers.relaxed_subset import RelaxedSubset
from discrete_lightning.layers.temperature import Temperature
from discrete_lightning.selection.gates.gate_layer import Per
from discrete_lightning.selection.gates.sampled_gates import SampledGates


class SelectK(SampledGates):
    """Gates of which exactly k of D are open: a subset drawn without replacement in training, the k largest logits in eval().

    The estimator's `subset` says from which distribution, and how the gradient passes: Gumbel top-k (Plackett-Luce) for most;
    `SIMPLE` draws from the conditional Bernoulli distribution and uses its exact marginals. No penalty is needed; the callback
    `Budget` lowers `k` from D to its target.

    Args:
        k: number of open gates, 1 <= k <= D.
        size: D.
        estimator: one that can choose subsets; `StraightThrough` by default. LeaveOneOut is used through `expectation`.
        dim, per, width: see GateLayer.
        temperature: of the estimator, a Temperature or a number.

    Attributes:
        k: may be changed.
        logits: float32 (D,).
        sampler: RelaxedSubset: `use_estimator`, TemperatureAnnealing and ChoiceMonitor find it.

    Raises:
        ValueError: if k is out of range, or the estimator cannot choose subsets.

    Example:
        >>> layer = SelectK(2, 5)
        >>> layer(torch.ones(3, 5)).sum(-1)
        tensor([2., 2., 2.], grad_fn=<SumBackward1>)
    """

    k: int

    def __init__(
        self,
        k: int,
        size: int,
        estimator: Estimator | None = None,
        dim: int = -1,
        per: Per = "row",
        width: int = 1,
        temperature: Temperature | float = 1.0,
    ) -> None:
        super().__init__(size, dim, per, width)
        check_k(k, size)
        self.register_number("k", k)
        self.sampler = RelaxedSubset(k, StraightThrough() if estimator is None else estimator, temperature)
        self.sampler.require_softmax(type(self).__name__)
        self.logits = nn.Parameter(torch.empty(size, dtype=torch.float32))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Starts with small noise."""
        self.logits.normal_(0, 0.01)

    def extra_repr(self) -> str:
        return f"k={self.k}, {super().extra_repr()}"

    def set_k(self, k: int) -> None:
        """Changes k.

        Raises:
            ValueError: if it is out of range.
        """
        check_k(k, self.size)
        self.k = k

    def sample(self, rows: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        self.sampler.k = self.k
        return super().sample(rows, generator)

    def exact_draw(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        return subset_k_hot(logits, self.k, generator=generator)

    def open_probability(self) -> Tensor:
        """sigmoid(a + c), with c such that the sum is k: float32 (D,). Its sum is exact; each entry is near the probability of
        inclusion, whose exact value for SIMPLE is `functional.subset_marginals`."""
        return evened(self.logits.float(), self.k)

    def scores(self) -> Tensor:
        logits = self.logits.detach().float()
        if self.k == self.size:
            return torch.ones_like(logits)
        ordered = logits.sort(descending=True).values
        # of equal logits the k-th and the next may be one number: a stable order decides
        rank = logits.argsort(descending=True, stable=True).argsort()
        middle = (ordered[self.k - 1] + ordered[self.k]) / 2
        tiny = torch.finfo(logits.dtype).tiny
        return torch.where(rank < self.k, (logits - middle).clamp_min(tiny), (logits - middle).clamp_max(-tiny))

    def expectation(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        self.sampler.k = self.k
        return super().expectation(function, x)


def check_k(k: int, size: int) -> None:
    """Raises ValueError unless 1 <= k <= size."""
    if not 1 <= k <= size:
        raise ValueError(f"k is the number of open gates, 1 to {size} of {size}, got {k}")


def evened(logits: Tensor, k: int, steps: int = 40) -> Tensor:
    """sigmoid(logits + c) whose sum is k; c by bisection, with dc / da_j = - s_j / sum_i s_i, s = p (1 - p), as its gradient.

    Example:
        >>> round(evened(torch.tensor([2.0, 1.0, 0.0, -1.0, 0.5]), 2).sum().item(), 4)
        2.0
    """
    if k == logits.shape[-1]:
        return torch.ones_like(logits)
    with torch.no_grad():
        low, high = -logits.max() - 30, -logits.min() + 30
        for _ in range(steps):
            middle = (low + high) / 2
            above = torch.sigmoid(logits + middle).sum() > k
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        shift = (low + high) / 2
        p = torch.sigmoid(logits + shift)
        slope = p * (1 - p)
        share = slope / slope.sum().clamp_min(torch.finfo(p.dtype).tiny)
    return torch.sigmoid(logits + shift - ((logits - logits.detach()) * share).sum())
