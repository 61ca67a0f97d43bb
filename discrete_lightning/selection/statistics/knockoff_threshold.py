"""The knockoff filter (Barber & Candes 2015, https://arxiv.org/abs/1404.5609).

    T = min{t > 0: (offset + #{j: w_j <= -t}) / max(1, #{j: w_j >= t}) <= fdr},    select w_j >= T

w_j > 0 says that column j matters more than its knockoff. Signs of columns without effect are fair coins, so
#{w_j <= -t} counts the false ones among #{w_j >= t}. With offset = 1, the expected part of false ones among the
selected is at most fdr.
"""

import math

import torch
from torch import Tensor

from discrete_lightning.selection.statistics._columns import check_rate


def knockoff_threshold(w: Tensor, fdr: float, offset: int = 1) -> float:
    """The smallest threshold on w with an estimated rate of false discoveries of at most `fdr`.

    With offset = 1 it keeps 1 / fdr columns or more, or none: at fdr = .1 fewer than 10 are never selected, at .2
    fewer than 5.

    Args:
        w: (D,), finite; antisymmetric: swapping a column and its knockoff changes the sign of its entry alone.
        fdr: rate of false discoveries, 0 < fdr < 1.
        offset: 1 controls the rate; 0 controls a modified rate, with some more power.

    Returns:
        T > 0; infinity if no threshold will do.

    Raises:
        ValueError: fdr outside (0, 1), offset other than 0 and 1, w not a finite vector.

    Example:
        >>> w = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0, -0.5])
        >>> knockoff_threshold(w, 0.2), knockoff_threshold(w, 0.1)
        (1.0, inf)
    """
    check_rate("knockoff_threshold", fdr)
    if offset not in (0, 1):
        raise ValueError(f"knockoff_threshold: offset is 0 or 1, got {offset!r}")
    if w.dim() != 1 or not torch.isfinite(w).all():
        raise ValueError(f"knockoff_threshold needs a vector of finite values, got shape {tuple(w.shape)}, {w.dtype}")
    values = w.detach().double().cpu()
    candidates = values.abs().unique()
    candidates = candidates[candidates > 0]
    ordered = values.sort().values
    above = len(values) - torch.searchsorted(ordered, candidates)
    below = torch.searchsorted(ordered, -candidates, right=True)
    # compared as a product: 1 / 10 <= .1 must not depend on rounding of a quotient
    allowed = offset + below <= fdr * above.clamp(min=1) + 1e-12
    return float(candidates[allowed][0]) if allowed.any() else math.inf


def knockoff_select(w: Tensor, fdr: float, offset: int = 1) -> Tensor:
    """Which columns pass `knockoff_threshold`: bool (D,), on the device of w.

    Args:
        w: (D,), finite, antisymmetric.
        fdr: rate of false discoveries, 0 < fdr < 1.
        offset: 1 or 0.

    Raises:
        ValueError: as `knockoff_threshold`.

    Example:
        >>> knockoff_select(torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0, -0.5]), 0.2)
        tensor([ True,  True,  True,  True,  True, False])
    """
    return w.detach().double() >= knockoff_threshold(w, fdr, offset)
