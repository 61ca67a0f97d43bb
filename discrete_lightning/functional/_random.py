"""Uniform draws, and a seed for each of several generators."""

from collections.abc import Sequence

import torch
from torch import Tensor


def uniform(
    shape: Sequence[int], *, dtype: torch.dtype, device: torch.device | str | None, generator: torch.Generator | None
) -> Tensor:
    """torch.rand. torch.compile cannot trace a dynamic shape together with `generator=`, even None, so it is left out then."""
    if generator is None:
        return torch.rand(shape, dtype=dtype, device=device)
    return torch.rand(shape, dtype=dtype, device=device, generator=generator)


def numbered_seed(seed: int, number: int) -> int:
    """A different seed for each number (a rank, a draw, a step), computed from `seed` and `number` alone.

    Multiplication by the Weyl constant makes seeds of nearby numbers differ in all bits.
    """
    return (seed ^ (number * 0x9E3779B97F4A7C15)) & (2**63 - 1)
