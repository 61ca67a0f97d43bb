"""Expressions whose symbols have an unknown meaning, after ListOps (Nangia and Bowman 2018, https://arxiv.org/abs/1804.06028).

Each symbol of a tree of seven operations on digits is to be read as one of eight operations; only the tree's value is seen. A
sample gives an operation for each of the seven symbols; an operation maps two digits (one-hot) to one. The loss is the
cross-entropy of the value, with a floor of 1/1000. The score is the share of test trees with a wrong value, with the most
likely meanings.
"""

import torch
from torch import Tensor, nn

from benchmarks.arena.problem import Loss, Problem, Task

FLOOR = 1e-3
LEAVES = 8


def operations(base: int) -> Tensor:
    """Eight operations of two digits, modulo `base`: one-hot (8, base, base, base)."""
    a, b = torch.arange(base)[:, None], torch.arange(base)[None, :]
    values = [
        torch.minimum(a, b), torch.maximum(a, b), (a + b) % base, (a * b) % base, (a - b).abs(), (a - b) % base,
        a.expand(base, base), b.expand(base, base),
    ]  # fmt: skip
    return torch.nn.functional.one_hot(torch.stack(values), base).float()


class ListOps(Problem):
    """Full binary trees of depth 3 with digits of that base."""

    def __init__(self, base: int, seed: int) -> None:
        super().__init__()
        self.base, self.table = base, operations(base)
        generator = torch.Generator().manual_seed(seed)
        self.meaning = torch.randperm(len(self.table), generator=generator)
        self.logits = nn.Parameter(0.01 * torch.randn(len(self.table), len(self.table), generator=generator))

    def _trees(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Symbols (count, 7), digits one-hot (count, 8, base) and values (count,)."""
        symbols = torch.randint(len(self.table), (count, LEAVES - 1), generator=generator)
        digits = torch.randint(self.base, (count, LEAVES), generator=generator)
        one_hot = torch.nn.functional.one_hot(digits, self.base).float()
        truth = torch.nn.functional.one_hot(self.meaning[symbols], len(self.table)).float()
        return symbols, one_hot, self._value(truth, one_hot).argmax(-1)

    def _value(self, sample: Tensor, digits: Tensor) -> Tensor:
        """The value's distribution, (..., B, base)."""
        values, used = digits.expand(*sample.shape[:-2], *digits.shape[-2:]), 0
        while values.shape[-2] > 1:  # a level of the tree: pairs of neighbours
            left, right = values[..., ::2, :], values[..., 1::2, :]
            operation = sample[..., used : used + left.shape[-2], :]
            used += left.shape[-2]
            pairs = (left.unsqueeze(-1) * right.unsqueeze(-2)).flatten(-2)
            results = pairs @ self.table.permute(1, 2, 0, 3).reshape(self.base**2, -1)
            values = (operation.unsqueeze(-1) * results.unflatten(-1, (len(self.table), self.base))).sum(-2)
        return values.squeeze(-2)

    def choices(self, examples: int, generator: torch.Generator) -> tuple[Tensor, Loss, float]:
        symbols, digits, values = self._trees(examples, generator)

        def loss(sample: Tensor) -> Tensor:
            p = self._value(sample, digits)
            right = p.gather(-1, values.view(-1, 1).expand(*p.shape[:-1], 1)).squeeze(-1)
            return -(FLOOR + (1 - FLOOR) * right.clamp_min(0)).log()

        return self.logits[symbols], loss, 0.0

    @torch.no_grad()
    def score(self) -> float:
        symbols, digits, values = self._trees(2000, torch.Generator().manual_seed(1_000_003))
        likely = torch.nn.functional.one_hot(self.logits.argmax(-1), len(self.table)).float()
        return 100 * float((self._value(likely[symbols], digits).argmax(-1) != values).float().mean())

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


TASKS = {
    "ListOps": Task(
        make=lambda seed: ListOps(7, seed),
        tuning=lambda seed: ListOps(5, seed),
        steps=800,
        rows=32,
        seeds=5,
        unit="wrong, %",
        digits=1,
    )
}
