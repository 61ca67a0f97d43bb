"""Six problems with planted columns: 1,000 rows, 50 columns in random order, k of them matter."""

from dataclasses import dataclass
from typing import Any

import numpy as np

ROWS, COLUMNS = 1_000, 50
NAMES = ("xor of 2", "xor of 3", "ring", "friedman 1", "linear, copies", "sine")


@dataclass(frozen=True)
class Problem:
    """A table, its target, and what matters.

    Attributes:
        x: (rows, columns).
        y: classes, integers, or numbers.
        k: number of columns that matter.
        group: of each column: what counts is that its group is one of the first k; copies of a column share its group.
    """

    x: Any
    y: Any
    k: int
    group: Any

    def f1(self, chosen: Any) -> float:
        """Harmonic mean of precision and recall of the chosen columns, by groups: a second copy of one is not another hit."""
        groups = [int(self.group[each]) for each in chosen]
        hits = len({each for each in groups if each < self.k})
        return 2 * hits / (len(groups) + self.k)


def problem(name: str, seed: int, rows: int = ROWS, columns: int = COLUMNS) -> Problem:
    """The problem of that name, drawn by that seed."""
    draw = np.random.RandomState(seed)
    x, group = draw.randn(rows, columns), np.arange(columns)
    if name in ("xor of 2", "xor of 3"):
        k = int(name[-1])
        y = (x[:, :k].prod(1) > 0).astype(int)
    elif name == "ring":
        k, radius = 3, (x[:, :3] ** 2).sum(1)
        y = (radius > np.median(radius)).astype(int)
    elif name == "friedman 1":
        k, x = 5, draw.rand(rows, columns)
        y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
        y = y + draw.randn(rows)
    elif name == "linear, copies":
        k = 5
        for i in range(2 * k):  # two copies of each column that matters, correlated with it by 0.9
            x[:, k + i] = 0.9 * x[:, i // 2] + np.sqrt(1 - 0.9**2) * x[:, k + i]
            group[k + i] = i // 2
        y = x[:, :k].sum(1) + draw.randn(rows)
    elif name == "sine":
        k = 5
        y = np.sin(2 * x[:, :k]).sum(1) + 0.5 * draw.randn(rows)
    else:
        raise ValueError(f"no problem {name!r}: {', '.join(NAMES)}")
    order = draw.permutation(columns)
    return Problem(x[:, order], y, k, group[order])
