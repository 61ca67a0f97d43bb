"""Means and spreads over the rows that count, of all ranks."""

import torch
from torch import Tensor

from discrete_lightning.distributed import all_reduce_sum, global_mean, world_size
from discrete_lightning.functional._checks import values_can_be_read


def counted_mean(values: Tensor, counted: Tensor) -> Tensor:
    """The mean of `values` where `counted`, over all ranks, with the gradient that data parallelism needs; 0 of nothing."""
    if world_size() == 1 and values_can_be_read(counted) and bool(counted.all()):  # the usual case, of small operations
        return values.sum() / max(1, values.numel())
    return global_mean(torch.where(counted, values, 0.0).sum(), counted.sum())


@torch.no_grad()
def standardized(values: Tensor, counted: Tensor) -> Tensor:
    """(values - mean) / (standard deviation + 1e-8) by the counted rows of all ranks; 0 at the others.

    The deviation is that of a sample (n - 1), as torch's; of one row alone it is taken as 1.
    """
    kept = torch.where(counted, values, 0.0).double()
    total, number = all_reduce_sum(torch.stack([kept.sum(), counted.sum().double()]))
    mean = total / number.clamp_min(1)
    squares = all_reduce_sum(torch.where(counted, (kept - mean).square(), 0.0).sum())
    deviation = torch.where(number > 1, (squares / (number - 1).clamp_min(1)).sqrt(), 1.0)
    return torch.where(counted, (kept - mean) / (deviation + 1e-8), 0.0).to(values.dtype)


@torch.no_grad()
def explained_variance(values: Tensor, targets: Tensor, counted: Tensor) -> Tensor:
    """1 - Var(targets - values) / Var(targets) over the counted rows of all ranks: 1 is perfect, 0 no better than a constant.

    NaN where the targets do not vary.
    """
    error = targets - values
    parts = [torch.where(counted, each, 0.0).double() for each in (error, error.square(), targets, targets.square())]
    sums = all_reduce_sum(torch.stack([*(each.sum() for each in parts), counted.sum().double()]))
    mean = sums[:4] / sums[4].clamp_min(1)
    of_error, of_targets = mean[1] - mean[0].square(), mean[3] - mean[2].square()
    return torch.where(of_targets > 0, 1 - of_error / of_targets, torch.nan).float()
