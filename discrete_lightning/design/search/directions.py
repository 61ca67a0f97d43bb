"""Directions in the space of several objectives, and the score of a sequence in one direction.

    u_i = (v_i - reference_i) / range_i,     score = scale * (mix * sum_i w_i u_i + (1 - mix) * min_i u_i / (n w_i))

The minimum (Chebyshev, with weights of Golovin and Zhang 2020, https://arxiv.org/abs/2006.04655) also reaches points between
which the front is hollow, which a weighted sum does not; the sum makes its gradient show all objectives.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.design.oracles import WeightedSum

_LEAST = 0.05  # of a weight: no objective is without effect


def spread_directions(count: int, objectives: int) -> Tensor:
    """Weights on the simplex, float32 (count, objectives): the middle, the corners, then always one that is far from all before.

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
    while _lattice_size(parts, objectives) < 4 * count and objectives > 1:
        parts *= 2
    lattice = torch.tensor(_compositions(parts, objectives), dtype=torch.float32, device="cpu") / parts
    first = torch.cat([torch.full((1, objectives), 1 / objectives), torch.eye(objectives)]).to(torch.float32)
    chosen = [row for row in first[:count]]
    distance = torch.cdist(lattice, first[:count]).amin(1)
    while len(chosen) < count:
        best = int(distance.argmax())
        chosen.append(lattice[best])
        distance = torch.minimum(distance, torch.cdist(lattice, lattice[best : best + 1]).squeeze(1))
    return torch.stack(chosen)


def _lattice_size(parts: int, objectives: int) -> int:
    size = 1
    for i in range(objectives - 1):
        size = size * (parts + i + 1) // (i + 1)
    return size


def _compositions(parts: int, objectives: int) -> list[list[int]]:
    """All ways to write `parts` as a sum of `objectives` numbers >= 0, largest first number first."""
    if objectives == 1:
        return [[parts]]
    return [[first, *rest] for first in range(parts, -1, -1) for rest in _compositions(parts - first, objectives - 1)]


@dataclass(frozen=True)
class Direction:
    """The score of a WeightedSum's columns in one direction, in the sense of the problem's goal.

    Args:
        oracle: gives the objectives of the columns.
        sign: of the goal: +1 if a higher score is better, -1 if a lower one is.
        weights: float32 (objectives,), >= 0 and of sum 1.
        reference: (objectives,), a bad value of each objective.
        ranges: (objectives,), > 0: from there to a good one.
        scale: of the score, > 0.
        mix: the share of the weighted sum in [0, 1].
    """

    oracle: WeightedSum
    sign: float
    weights: Tensor
    reference: Tensor
    ranges: Tensor
    scale: float
    mix: float

    def __call__(self, components: Tensor) -> Tensor:
        """Scores (N,) of columns (N, columns); the one of an infinitely bad sequence is infinite."""
        values = self.oracle.objectives(components, self.sign)
        weights = self.weights.to(values).clamp_min(_LEAST)
        weights = weights / weights.sum()
        finite = values > -torch.inf
        u = (torch.where(finite, values, 0.0) - self.reference.to(values)) / self.ranges.to(values)
        total = (weights * u).sum(1)
        least = (u / (weights * len(weights))).amin(1)
        score = self.sign * self.scale * (self.mix * total + (1 - self.mix) * least)
        return torch.where(finite.all(1), score, -self.sign * torch.inf)
