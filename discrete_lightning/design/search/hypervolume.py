"""The hypervolume of a set of points: how much of the space above a reference point they dominate together.

    HV(V, r) = volume of the union over v in V of the boxes [r, v]    (Zitzler and Thiele 1999, https://doi.org/10.1109/4235.797969)

A set with a larger one is better, and only adding a point that no other one dominates makes it larger. Two objectives take a
sweep over the sorted points, three a sweep with a sorted front of the plane (Beume et al. 2009,
https://doi.org/10.1109/TEVC.2009.2015575), and more are cut into slices along the last objective: a factor of n for each.
"""

from bisect import bisect_left
from collections.abc import Sequence

from torch import Tensor


def hypervolume(values: Tensor, reference: Tensor) -> float:
    """The exact hypervolume in the units of the objectives, multiplied.

    Args:
        values: (n, objectives), higher is better; rows that do not exceed the reference in all objectives add nothing.
        reference: (objectives,), finite.

    Raises:
        ValueError: the shapes differ, or a number is NaN or +inf.

    Example:
        >>> import torch
        >>> hypervolume(torch.tensor([[2.0, 1.0], [1.0, 3.0]]), torch.zeros(2))
        4.0
    """
    if values.ndim != 2 or reference.shape != values.shape[1:]:
        raise ValueError(
            f"hypervolume takes values (n, objectives) and a reference (objectives,), got {tuple(values.shape)} and "
            f"{tuple(reference.shape)}"
        )
    if not bool((values < float("inf")).all() and reference.isfinite().all()):
        raise ValueError("hypervolume: values and reference must be finite numbers (values may be -inf)")
    low = reference.tolist()
    heights = [[value - below for value, below in zip(row, low, strict=True)] for row in values.tolist()]
    rows = [row for row in heights if min(row) > 0]
    return _volume(rows) if rows else 0.0


def _volume(rows: Sequence[Sequence[float]]) -> float:
    """The volume of the union of boxes from the origin to rows of positive numbers."""
    if len(rows[0]) == 1:
        return max(row[0] for row in rows)
    if len(rows[0]) == 2:
        return _area(rows)
    order = sorted(rows, key=lambda row: -row[-1])
    total, front = 0.0, _Front()
    for i, row in enumerate(order):
        below = order[i + 1][-1] if i + 1 < len(order) else 0.0
        if len(row) == 3:
            front.add(row[0], row[1])
        if row[-1] > below:
            slab = front.area if len(row) == 3 else _volume([each[:-1] for each in order[: i + 1]])
            total += slab * (row[-1] - below)
    return total


def _area(rows: Sequence[Sequence[float]]) -> float:
    total, height = 0.0, 0.0
    for x, y in sorted(rows, key=lambda row: (-row[0], -row[1])):
        if y > height:
            total, height = total + x * (y - height), y
    return total


class _Front:
    """Points of the plane of which none dominates another, sorted by x; the area below them is kept up to date."""

    def __init__(self) -> None:
        self.xs: list[float] = []  # rising
        self.ys: list[float] = []  # falling
        self.area = 0.0

    def add(self, x: float, y: float) -> None:
        """Adds a point, unless another one dominates it."""
        at = bisect_left(self.xs, x)
        if at < len(self.xs) and self.ys[at] >= y:
            return
        if at < len(self.xs) and self.xs[at] == x:
            at += 1  # the same x with a lower y: dominated, and removed below
        floor = self.ys[at] if at < len(self.ys) else 0.0  # what the points to the right cover
        right, gained, first = x, 0.0, at
        while first and self.ys[first - 1] <= y:
            first -= 1
            left = self.xs[first]
            gained += (right - left) * (y - floor)
            right, floor = left, self.ys[first]
        left = self.xs[first - 1] if first else 0.0
        gained += (right - left) * (y - floor)
        self.area += gained
        self.xs[first:at], self.ys[first:at] = [x], [y]
