"""Tables with planted columns, and a rate and a power of what is found in them."""

import math

import torch
from torch import Tensor


def correlated(rows: int, columns: int, rho: float, generator: torch.Generator) -> Tensor:
    """Gaussian columns with correlations rho^|i - j|, float64."""
    noise = torch.randn(rows, columns, dtype=torch.float64, generator=generator)
    x = noise.clone()
    for j in range(1, columns):
        x[:, j] = rho * x[:, j - 1] + math.sqrt(1 - rho**2) * noise[:, j]
    return x


def ar1(columns: int, rho: float) -> Tensor:
    index = torch.arange(columns, dtype=torch.float64)
    return rho ** (index[:, None] - index).abs()


def planted(columns: int, true: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Which columns matter (bool), and signs (0 for those that do not)."""
    chosen = torch.zeros(columns, dtype=torch.bool)
    chosen[torch.randperm(columns, generator=generator)[:true]] = True
    signs = torch.randint(2, (columns,), generator=generator) * 2.0 - 1
    return chosen, (signs * chosen).double()


def false_and_found(selected: Tensor, true: Tensor) -> tuple[float, float]:
    """Part of the selected that is false, and part of the true that is selected."""
    return float((selected & ~true).sum() / selected.sum().clamp(min=1)), float((selected & true).sum() / true.sum())
