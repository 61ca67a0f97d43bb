"""Checks of tables and rates that the statistics of selection share."""

import math

import torch
from torch import Tensor


def check_table(name: str, x: Tensor) -> None:
    """Raises ValueError unless x is a finite floating table (n, D) of 2 rows or more and a column or more."""
    if x.dim() != 2 or x.shape[0] < 2 or x.shape[1] < 1:
        raise ValueError(f"{name} needs a table of shape (rows >= 2, columns >= 1), got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"{name} needs floating values, got {x.dtype}: convert the table by x.double()")
    finite = torch.isfinite(x)
    if not finite.all():
        row, column = (int(i) for i in (~finite).nonzero()[0])
        raise ValueError(
            f"{name} needs finite values, and {int((~finite).sum())} of the table are not, the first in row {row}, "
            f"column {column}: fill or drop them first"
        )


def standardized(name: str, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The table in float64 with mean 0 and variance 1 (divided by n), its means and its standard deviations."""
    x = x.double()
    mean = x.mean(dim=0)
    centred = x - mean
    std = centred.square().mean(dim=0).sqrt()
    # a column of one value such as 0.1 keeps rounding errors of the mean
    constant = ((x == x[0]).all(dim=0) | (std == 0)).nonzero().flatten().tolist()
    if constant:
        shown = ", ".join(map(str, constant[:10])) + (", ..." if len(constant) > 10 else "")
        raise ValueError(
            f"{name} needs columns that vary, and {len(constant)} of {x.shape[1]} hold one value (columns {shown}): "
            "drop them first"
        )
    return centred / std, mean, std


def check_rate(name: str, fdr: float) -> None:
    """Raises ValueError unless 0 < fdr < 1."""
    if not (math.isfinite(fdr) and 0 < fdr < 1):
        raise ValueError(f"{name} needs a false discovery rate with 0 < fdr < 1, got {fdr!r}")
