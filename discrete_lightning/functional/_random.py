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
