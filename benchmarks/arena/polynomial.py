"""The polynomial toy of Liu et al. 2023 (https://arxiv.org/abs/2304.08612, section 5.1): 128 Bernoulli variables minimise
E[mean |b - c|^p].

The score is the exact expected loss minus its minimum, times 1,000.
"""

import torch
from torch import Tensor, nn

from benchmarks.arena.problem import Loss, Problem, Task


class Polynomial(Problem):
    """Powers p of distances to the centre c."""

    kind = "binary"

    def __init__(self, power: float, centre: float, seed: int) -> None:
        super().__init__()
        self.power, self.centre = power, centre
        torch.manual_seed(seed)
        self.odds = nn.Parameter(1e-2 * torch.randn(128))

    def choices(self, examples: int, generator: torch.Generator) -> tuple[Tensor, Loss, float]:
        def loss(sample: Tensor) -> Tensor:
            return (sample - self.centre).abs().pow(self.power).mean(-1)

        return self.odds.expand(examples, -1), loss, 0.0

    @torch.no_grad()
    def score(self) -> float:
        zero, one = self.centre**self.power, (1 - self.centre) ** self.power
        p = self.odds.double().sigmoid()
        return 1e3 * (float((p * one + (1 - p) * zero).mean()) - min(zero, one))

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=5e-3)


TASKS = {
    "polynomial": Task(
        make=lambda seed: Polynomial(1.5, 0.45, seed),
        tuning=lambda seed: Polynomial(1.5, 0.4, seed),
        steps=1500,
        rows=32,
        seeds=3,
        unit="loss over the minimum, x 1,000",
        kind="binary",
    )
}
