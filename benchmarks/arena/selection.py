"""The k columns of 50 that a target depends on (benchmarks/selection/problems.py), and a network that sees those alone.

The choice is k of K without replacement. The score, with the k largest logits, is the test error over the variance of the
target.
"""

import torch
from torch import Tensor, nn

from benchmarks.arena.problem import Loss, Problem, Task
from benchmarks.selection.problems import problem


class Selection(Problem):
    """The problem of that name."""

    kind = "subset"

    def __init__(self, name: str, seed: int) -> None:
        super().__init__()
        made = problem(name, seed, rows=2000)
        x, y = torch.from_numpy(made.x).float(), torch.from_numpy(made.y).float()
        self.k = made.k
        self.x, self.y = (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()
        torch.manual_seed(seed)
        self.logits = nn.Parameter(torch.zeros(x.shape[1]))
        self.network = nn.Sequential(
            nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
        )

    def choices(self, examples: int, generator: torch.Generator) -> tuple[Tensor, Loss, float]:
        rows = torch.randint(1000, (examples,), generator=generator)
        x, y = self.x[rows], self.y[rows]

        def error(sample: Tensor) -> Tensor:
            return (self.network(x * sample).squeeze(-1) - y).square()

        return self.logits.expand(examples, -1), error, 0.0

    @torch.no_grad()
    def score(self) -> float:
        mask = torch.zeros_like(self.logits)
        mask[self.logits.topk(self.k or 1).indices] = 1
        return float((self.network(self.x[1000:] * mask).squeeze(-1) - self.y[1000:]).square().mean())

    def optimizer(self) -> torch.optim.Optimizer:
        choice = {"params": [self.logits], "lr": 2e-2}
        return torch.optim.Adam([choice, {"params": self.network.parameters(), "lr": 2e-3}])


TASKS = {
    "selection": Task(
        make=lambda seed: Selection("friedman 1", seed),
        tuning=lambda seed: Selection("sine", seed),
        steps=1000,
        rows=64,
        seeds=5,
        unit="error / variance",
        kind="subset",
        digits=3,
    )
}
