"""Oracles for tests of the search."""

import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """score = sum of a random weight for each letter at each place: the optimum is known, and gradients are exact."""

    def __init__(self, length: int, letters: int = 4, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(letters, length, generator=generator))
        self.rows = 0

    def forward(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        return (x * self.weight).sum((1, 2))


class Constant(nn.Module):
    """The same score for all, with a gradient of 0."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        return 0 * x.sum((1, 2)) + self.value


class Pairs(nn.Module):
    """Neighbouring letters interact: single edits run into local optima; without gradient if `hard`."""

    def __init__(self, letters: int = 4, seed: int = 0, hard: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("table", torch.randn(letters, letters, generator=generator))
        self.hard = hard

    def forward(self, x: Tensor) -> Tensor:
        x = x.detach() if self.hard else x
        return torch.einsum("bil,ij,bjl->b", x[..., :-1], self.table, x[..., 1:])
