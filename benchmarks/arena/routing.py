"""One expert of eight a row: planted regions, each with a matrix of its own (`PlantedExperts`). A router and the experts learn.

The score is the mean squared error of test rows with the most likely expert; 1.01 is the error of 0, 0.01 the noise.
"""

import torch
from torch import Tensor, nn

from benchmarks.arena.problem import Loss, Problem, Task
from discrete_lightning.data import PlantedExperts


class Routing(Problem):
    """Rows of `dim` numbers, `regions` regions and as many linear experts."""

    def __init__(self, dim: int, regions: int, seed: int) -> None:
        super().__init__()
        data = PlantedExperts(dim=dim, regions=regions, rows=16_384, seed=seed)
        splits = data.build()
        self.train_rows, self.test_rows = (splits[part].tensors[:2] for part in ("train", "test"))  # type: ignore[attr-defined]
        torch.manual_seed(seed)
        self.router = nn.Sequential(nn.Linear(dim, 64), nn.ReLU(), nn.Linear(64, regions))
        self.experts = nn.Parameter(torch.randn(regions, dim, dim) / dim**0.5)

    def _errors(self, outputs: Tensor, y: Tensor, sample: Tensor) -> Tensor:
        return ((sample.unsqueeze(-1) * outputs).sum(-2) - y).square().mean(-1)

    def choices(self, examples: int, generator: torch.Generator) -> tuple[Tensor, Loss, float]:
        x, y = self.train_rows
        rows = torch.randint(len(x), (examples,), generator=generator)
        x, y = x[rows], y[rows]
        outputs = torch.einsum("bi,koi->bko", x, self.experts)
        return self.router(x), lambda sample: self._errors(outputs, y, sample), 0.0

    @torch.no_grad()
    def score(self) -> float:
        x, y = self.test_rows
        chosen = self.experts[self.router(x).argmax(-1)]
        return float((torch.einsum("bi,boi->bo", x, chosen) - y).square().mean())

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=3e-3)


TASKS = {
    "routing": Task(
        make=lambda seed: Routing(16, 8, seed),
        tuning=lambda seed: Routing(12, 6, seed),
        steps=1000,
        rows=128,
        seeds=3,
        unit="squared error",
        digits=3,
    )
}
