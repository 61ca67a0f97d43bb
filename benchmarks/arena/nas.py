"""NAS-Bench-201 (Dong and Yang 2020, https://arxiv.org/abs/2001.00326) as a differentiable function.

It is the multilinear extension of the table of 15,625 cells (6 edges, 5 operations), whose value at one-hot choices is the
table's, read from $DISCRETE_LIGHTNING_DATA. Evaluations have noise of half a percent. The temperature is chosen on a table of
our own, of 125 cells (benchmarks/nas/results/architecture_table.csv). The score is the regret of the most likely cell: the best
accuracy of the table minus its own, in percent.
"""

import csv
import os
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.arena.problem import Loss, Problem, Task

TABLE = Path(__file__).parents[1] / "nas" / "results" / "architecture_table.csv"
BENCH = Path(os.environ.get("DISCRETE_LIGHTNING_DATA", "data")) / "nb201" / "cifar10.npz"
OPERATIONS = 5


@cache
def own_table() -> Tensor:
    """Mean test accuracy of each cell, in percent: (5, 5, 5)."""
    with TABLE.open() as file:
        rows = list(csv.DictReader(file))
    names = list(dict.fromkeys(row["architecture"].split("|")[-1] for row in rows))
    sums, counts = torch.zeros(2, *[OPERATIONS] * 3, dtype=torch.float64)
    for row in rows:
        place = tuple(names.index(each) for each in row["architecture"].split("|"))
        sums[place] += 100 * float(row["test"])
        counts[place] += 1
    return (sums / counts).float()


@cache
def bench_table() -> Tensor:
    """Accuracy of each cell of NAS-Bench-201 on CIFAR-10, in percent: (5, 5, 5, 5, 5, 5)."""
    if not BENCH.exists():
        raise FileNotFoundError(
            f"the NAS table is read from {BENCH}: set DISCRETE_LIGHTNING_DATA, or leave it out of --tasks"
        )
    with np.load(BENCH) as file:
        operations, accuracy = file["ops"].astype(np.int64), file["accuracy"]
    table = torch.empty([OPERATIONS] * operations.shape[1])
    table[tuple(torch.from_numpy(operations).T)] = torch.from_numpy(accuracy).float()
    return table


class Cells(Problem):
    """The search for a cell of a table, (5,) * edges."""

    def __init__(self, table: Tensor, seed: int) -> None:
        super().__init__()
        self.table = table
        torch.manual_seed(seed)
        self.logits = nn.Parameter(1e-3 * torch.randn(table.ndim, OPERATIONS))

    def choices(self, examples: int, generator: torch.Generator) -> tuple[Tensor, Loss, float]:
        noise = 0.5 * torch.randn(examples, generator=generator)

        def loss(sample: Tensor) -> Tensor:
            value = sample[..., 0, :] @ self.table.reshape(OPERATIONS, -1)
            for edge in range(1, self.table.ndim):
                value = (sample[..., edge, :].unsqueeze(-1) * value.unflatten(-1, (OPERATIONS, -1))).sum(-2)
            return (noise - value.squeeze(-1)) / 10

        return self.logits.expand(examples, -1, -1), loss, 0.0

    @torch.no_grad()
    def score(self) -> float:
        return float(self.table.max() - self.table[tuple(self.logits.argmax(-1).tolist())])

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-1)


TASKS = {
    "NAS table": Task(
        make=lambda seed: Cells(bench_table(), seed),
        tuning=lambda seed: Cells(own_table(), seed),
        steps=60,
        rows=8,
        seeds=10,
        unit="regret, %",
    )
}
