"""Finite scalar quantisation (Mentzer et al. 2023, https://arxiv.org/abs/2309.15505): each channel rounded to L levels.

q = round(h tanh(z + s) - o),   h = (L - 1) (1 + 1e-3) / 2,   o = 1/2 for even L, else 0,   s = atanh(o / h)
value q / floor(L / 2) in [-1, 1],   index = sum_i (q_i + floor(L_i / 2)) prod_{j<i} L_j       (appendix A.1)
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from discrete_lightning.functional._checks import as_indices, check_floating
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional.straight_through import straight_through


class FiniteScalar(NamedTuple):
    """Values (..., D) in [-1, 1] with their gradient, and the int64 index (...) of each vector."""

    values: Tensor
    indices: Tensor


def check_levels(levels: Sequence[int]) -> None:
    """Raises ValueError unless `levels` are integers > 1 whose product is an index of 63 bits."""
    whole = all(isinstance(level, int) and not isinstance(level, bool) and level > 1 for level in levels)
    if not levels or not whole:
        raise ValueError(f"levels must be integers > 1, one for each channel, got {list(levels)}")
    if math.prod(levels) >= 2**63:
        raise ValueError(f"levels {list(levels)} make more codes than an int64 index can count")


def finite_scalar(vectors: Tensor, levels: Sequence[int]) -> FiniteScalar:
    """Bounds each channel, and rounds it to its levels with a straight-through gradient.

    Args:
        vectors: shape (..., D).
        levels: the number of levels of each of the D channels, integers > 1.

    Returns:
        values and indices; values have the dtype of `vectors`.

    Raises:
        ValueError: if `levels` are not integers > 1, or not D of them.

    Example:
        >>> finite_scalar(torch.tensor([[0.0, 9.0], [-9.0, 0.0]]), [3, 3])
        FiniteScalar(values=tensor([[ 0.,  1.],
                [-1.,  0.]]), indices=tensor([7, 3]))
    """
    check_levels(levels)
    check_floating(vectors, "vectors")
    if not vectors.ndim or vectors.shape[-1] != len(levels):
        raise ValueError(f"{len(levels)} levels quantise vectors of {len(levels)} channels, got {tuple(vectors.shape)}")
    x = float32(vectors)
    halves, offsets, shifts = (x.new_tensor(each) for each in _bounds(levels))
    widths = x.new_tensor([level // 2 for level in levels])
    bounded = torch.tanh(x + shifts) * halves - offsets
    rounded = bounded.detach().round()
    values = straight_through(rounded / widths, bounded / widths)
    indices = ((rounded + widths).to(torch.int64) * _places(levels, vectors.device)).sum(-1)
    return FiniteScalar(values.to(vectors.dtype), indices)


def finite_scalar_decode(indices: Tensor, levels: Sequence[int]) -> Tensor:
    """The values (..., D), float32, that integer `indices` (...) stand for.

    Example:
        >>> finite_scalar_decode(torch.tensor([7, 3]), [3, 3])
        tensor([[ 0.,  1.],
                [-1.,  0.]])
    """
    check_levels(levels)
    indices = as_indices(indices)
    count = torch.tensor(levels, device=indices.device)
    digits = torch.div(indices.unsqueeze(-1), _places(levels, indices.device), rounding_mode="floor") % count
    widths = torch.div(count, 2, rounding_mode="floor")
    return (digits - widths).float() / widths


def finite_scalar_residual(vectors: Tensor, values: Tensor, levels: Sequence[int]) -> Tensor:
    """What a first quantisation left over, stretched so that the same levels divide one of its cells.

    Quantise the result with the same `levels` to refine: the value is values + refined / (2 floor(L / 2)), since a cell
    reaches half the distance of two levels, 1 / (2 floor(L / 2)), to each side.

    Args:
        vectors: shape (..., D), what was quantised.
        values: shape (..., D), what `finite_scalar` made of it.
        levels: as in `finite_scalar`.

    Returns:
        The residual, (..., D), of the dtype of `vectors`.

    Example:
        >>> z = torch.tensor([0.3])
        >>> coarse = finite_scalar(z, [5]).values
        >>> fine = finite_scalar(finite_scalar_residual(z, coarse, [5]), [5]).values
        >>> (coarse + fine / 4).item(), round(2.002 * math.tanh(0.3) / 2, 3)
        (0.25, 0.292)
    """
    check_floating(vectors, "vectors")
    x = float32(vectors)
    halves, offsets, shifts = (x.new_tensor(each) for each in _bounds(levels))
    widths = x.new_tensor([level // 2 for level in levels])
    bounded = (torch.tanh(x + shifts) * halves - offsets) / widths
    residual = (bounded - float32(values)) * (2 * widths)  # in [-1, 1], half a cell each way
    unit = (residual * widths + offsets) / halves
    return (torch.atanh(unit.clamp(-0.999, 0.999)) - shifts).to(vectors.dtype)


def _bounds(levels: Sequence[int]) -> tuple[list[float], list[float], list[float]]:
    """h, o and s of each channel."""
    halves = [(level - 1) * 1.001 / 2 for level in levels]
    offsets = [0.0 if level % 2 else 0.5 for level in levels]
    # with two levels the paper's shift of atanh(0.999) would put the threshold at z = -3.8, and a new encoder on one side
    shifts = [math.atanh(o / h) if level > 2 else 0.0 for level, o, h in zip(levels, offsets, halves, strict=True)]
    return halves, offsets, shifts


def _places(levels: Sequence[int], device: torch.device) -> Tensor:
    return torch.tensor([math.prod(levels[:i]) for i in range(len(levels))], device=device)
