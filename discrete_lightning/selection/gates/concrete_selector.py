"""Concrete selectors (Balin et al. 2019, https://arxiv.org/abs/1901.09346), without duplicates.

    m_i ~ Concrete(a_i, tau), i = 1, ..., k;   output_i = m_i . x

k independent selectors may choose the same feature. Here `duplicates`, sum_j relu(sum_i softmax(a_i)_j - 1), is a term for the
loss, and in eval() the selectors take different features: the assignment of the largest sum of log-probabilities.
"""

import math

import torch
from torch import Tensor, nn

from discrete_lightning.estimators import Estimator, GumbelSoftmax
from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.functional._keyed import of_batch
from discrete_lightning.layers.float32 import Float32State
from discrete_lightning.layers.recorded import Recorded
from discrete_lightning.layers.relaxed import RelaxedCategorical
from discrete_lightning.layers.temperature import Temperature
from discrete_lightning.selection.gates.gate_layer import Per, check_per
from discrete_lightning.selection.gates.select_k import check_k


class ConcreteSelector(Recorded, Float32State):
    """k selectors, each of one of D features: x (..., D) to (..., k).

    Args:
        k: number of selectors, 1 <= k <= D.
        size: D.
        estimator: `GumbelSoftmax`, as in the paper, by default.
        per: "batch": one draw for all rows, as published; "row": a draw for each.
        temperature: the paper anneals it from 10 to 0.1.

    Attributes:
        logits: a, float32 (k, D).
        sampler: RelaxedCategorical.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> layer = ConcreteSelector(2, 5)
        >>> layer(torch.randn(3, 5)).shape, len(set(layer.features().tolist()))
        (torch.Size([3, 2]), 2)
    """

    def __init__(
        self,
        k: int,
        size: int,
        estimator: Estimator | None = None,
        per: Per = "batch",
        temperature: Temperature | float = 1.0,
    ) -> None:
        super().__init__()
        check_at_least(1, size=size)
        check_k(k, size)
        check_per(per)
        self.k, self.size, self.per = k, size, per
        self.sampler = RelaxedCategorical(
            GumbelSoftmax() if estimator is None else estimator, temperature, samples_only=True
        )
        self.logits = nn.Parameter(torch.empty(k, size, dtype=torch.float32))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Starts with noise, so that the selectors differ."""
        self.logits.normal_(0, 0.1)

    def extra_repr(self) -> str:
        return f"k={self.k}, size={self.size}, per={self.per!r}"

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What the selectors give of x (..., D): (..., k), of the dtype of `x`.

        Raises:
            ValueError: if x has another number of features.
        """
        if x.shape[-1] != self.size:
            raise ValueError(f"ConcreteSelector selects of {self.size} features, and x has shape {tuple(x.shape)}")
        if not self.training:
            return x[..., self.features()]
        rows = x.shape[:1] if self.per == "row" and x.ndim > 1 else ()
        generator = generator if rows else of_batch(generator)
        m = self.sampler(self.logits.float().expand(*rows, self.k, self.size), generator).to(x.dtype)
        if not rows:
            return (x @ m.mT).to(x.dtype)  # also under autocast
        rows_of_each = x.reshape(x.shape[0], math.prod(x.shape[1:-1]), self.size)
        return (rows_of_each @ m.mT).reshape(*x.shape[:-1], self.k).to(x.dtype)

    def duplicates(self) -> Tensor:
        """sum_j relu(sum_i softmax(a_i)_j - 1), 0-dim float32: 0 where no feature is wanted by more than one selector."""
        return torch.relu(torch.softmax(self.logits.float(), -1).sum(0) - 1).sum()

    @torch.no_grad()
    def features(self) -> Tensor:
        """The different features that the selectors take in eval(), int64 (k,)."""
        log_p = torch.log_softmax(self.logits.detach().float(), -1)
        return assigned(log_p)

    def open(self) -> Tensor:
        """Which features are taken in eval(), bool (D,)."""
        return torch.zeros(self.size, dtype=torch.bool, device=self.logits.device).index_fill(0, self.features(), True)


def assigned(gains: Tensor) -> Tensor:
    """The assignment of k rows to different columns with the largest sum of `gains` (k, D): int64 (k,).

    The Hungarian algorithm with potentials (Kuhn 1955; Jonker and Volgenant 1987), O(k^2 D).

    Example:
        >>> assigned(torch.tensor([[3.0, 2.0, 0.0], [3.0, 0.0, 1.0]]))
        tensor([1, 0])
    """
    cost = (-gains).cpu().double()  # some accelerators have no float64
    rows, columns = cost.shape
    u, v = torch.zeros(rows + 1, dtype=cost.dtype), torch.zeros(columns + 1, dtype=cost.dtype)
    owner = [0] * (columns + 1)  # 1-based row of each column; column 0 stands for the row that is placed
    for row in range(1, rows + 1):
        owner[0], column = row, 0
        least = torch.full((columns + 1,), torch.inf, dtype=cost.dtype)
        back = [0] * (columns + 1)
        used = torch.zeros(columns + 1, dtype=torch.bool)
        while owner[column]:
            used[column] = True
            here = owner[column]
            reduced = cost[here - 1] - u[here] - v[1:]
            better = (reduced < least[1:]) & ~used[1:]
            least[1:] = torch.where(better, reduced, least[1:])
            for each in better.nonzero()[:, 0].tolist():
                back[each + 1] = column
            following = int(torch.where(used, torch.inf, least)[1:].argmin()) + 1
            delta = least[following].clone()
            for each in used.nonzero()[:, 0].tolist():
                u[owner[each]] += delta
                v[each] -= delta
            least = torch.where(used, least, least - delta)
            column = following
        while column:
            owner[column], column = owner[back[column]], back[column]
    chosen = torch.zeros(rows, dtype=torch.int64)
    for column in range(1, columns + 1):
        if owner[column]:
            chosen[owner[column] - 1] = column - 1
    return chosen.to(gains.device)
