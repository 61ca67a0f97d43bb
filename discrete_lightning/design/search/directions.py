"""Directions in the space of several objectives, and how good a point is in one direction.

    u_i = (v_i - reference_i) / range_i,     score = 1/2 sum_i w_i u_i + 1/2 min_i u_i / (n w_i)

The minimum (Chebyshev, with weights of Golovin and Zhang 2020, https://arxiv.org/abs/2006.04655) also reaches points between
which the front is hollow, which a weighted sum does not; the sum makes its gradient show all objectives.
"""

import math

import torch
from torch import Tensor

_LEAST = 0.05  # of a weight
_MIX = 0.5  # the share of the weighted sum


def spread_directions(count: int, objectives: int) -> Tensor:
    """Weights on the simplex, float32 (count, objectives): the middle, the corners, then always the one farthest from all.

    Args:
        count: at least 1.
        objectives: at least 1.

    Example:
        >>> spread_directions(5, 2)
        tensor([[0.5000, 0.5000],
                [1.0000, 0.0000],
                [0.0000, 1.0000],
                [0.7500, 0.2500],
                [0.2500, 0.7500]])
    """
    parts = 4
    while math.comb(parts + objectives - 1, objectives - 1) < 4 * count and objectives > 1:
        parts *= 2
    lattice = torch.tensor(_compositions(parts, objectives), dtype=torch.float32, device="cpu") / parts
    first = torch.cat([torch.full((1, objectives), 1 / objectives), torch.eye(objectives)]).to(torch.float32)
    chosen = list(first[:count])
    distance = torch.cdist(lattice, first[:count]).amin(1)
    while len(chosen) < count:
        best = int(distance.argmax())
        chosen.append(lattice[best])
        distance = torch.minimum(distance, torch.cdist(lattice, lattice[best : best + 1]).squeeze(1))
    return torch.stack(chosen)


def _compositions(parts: int, objectives: int) -> list[list[int]]:
    """All ways to write `parts` as a sum of `objectives` numbers >= 0, largest first number first."""
    if objectives == 1:
        return [[parts]]
    return [[first, *rest] for first in range(parts, -1, -1) for rest in _compositions(parts - first, objectives - 1)]


def directed_scores(values: Tensor, weights: Tensor, reference: Tensor, ranges: Tensor) -> Tensor:
    """How good objectives are in a direction, (...); larger is better. Rows with an objective of -inf have -inf.

    Args:
        values: v, (..., objectives), higher is better.
        weights: w, >= 0 and of sum 1, broadcasts to the values. Those below .05 count as .05: no objective is without effect.
        reference: (objectives,), a bad value of each.
        ranges: (objectives,), > 0: from there to a good one.

    Example:
        >>> values = torch.tensor([[1.0, 1.0], [2.0, 0.0]])
        >>> directed_scores(values, torch.tensor([0.5, 0.5]), torch.zeros(2), torch.ones(2))
        tensor([1.0000, 0.5000])
    """
    weights = weights.clamp_min(_LEAST)
    weights = weights / weights.sum(-1, keepdim=True)
    finite = values > -torch.inf
    u = (torch.where(finite, values, 0.0) - reference) / ranges
    least = (u / (weights * values.shape[-1])).amin(-1)
    score = _MIX * (weights * u).sum(-1) + (1 - _MIX) * least
    return torch.where(finite.all(-1), score, -torch.inf)
