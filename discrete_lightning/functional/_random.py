"""Uniform draws, for the paths that cannot use random bits."""

from collections.abc import Sequence

import torch
from torch import Tensor


def uniform(
    shape: Sequence[int], *, dtype: torch.dtype, device: torch.device | str | None, generator: torch.Generator | None
) -> Tensor:
    """torch.rand, which a compiler cannot trace for sizes of its own while it is given a generator, even None."""
    if generator is None:
        return torch.rand(shape, dtype=dtype, device=device)
    return torch.rand(shape, dtype=dtype, device=device, generator=generator)


def numbered_seed(seed: int, number: int) -> int:
    """A seed of its own for each number (a rank, a draw, a step), a pure function of both.

    Multiplication by the Weyl constant makes seeds of nearby numbers differ in all bits.
    """
    return (seed ^ (number * 0x9E3779B97F4A7C15)) & (2**63 - 1)
