"""Exact draws from a categorical distribution by inverting its distribution function: two uniforms a row, no Gumbel noise."""

import torch
from torch import Tensor

from discrete_lightning.functional._checks import is_traced
from discrete_lightning.functional._random import uniform

_BLOCK = 32  # categories summed at a time: one pass over the probabilities instead of a running sum over all of them


def categorical(probabilities: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Draws indices from Categorical(probabilities): first a block of 32 categories by its mass, then one in the block.

    Several times as fast as Gumbel-max on the CPU. Probabilities are accurate to 1e-7 of the total: for events rarer than
    about 1e-5 use gumbel_max, which is accurate to 1e-8. A probability of 0 is never drawn.

    Args:
        probabilities: non-negative float32 or float64, shape (..., K), of any positive sum.
        generator: source of randomness.

    Returns:
        int64 of shape (...).

    Example:
        >>> categorical(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        tensor([1, 0])
    """
    *leading, count = probabilities.shape
    rows = probabilities.detach().reshape(-1, count)
    if count > _BLOCK and count % _BLOCK:
        rows = torch.nn.functional.pad(rows, (0, -count % _BLOCK))
    width = min(_BLOCK, rows.shape[1])
    blocks = rows.view(len(rows), rows.shape[1] // width, width)
    # torch.compile can draw float32 only, and MPS has no float64
    dtype = torch.float32 if is_traced() or rows.device.type == "mps" else torch.float64
    u = uniform((2, len(rows)), dtype=dtype, device=rows.device, generator=generator)
    block = _invert(blocks.sum(-1), u[0])
    inside = blocks.gather(1, block.view(-1, 1, 1).expand(-1, 1, width)).squeeze(1)
    return (block * width + _invert(inside, u[1])).view(leading)


def _invert(weights: Tensor, u: Tensor) -> Tensor:
    """The first index whose running sum exceeds u * total; never an index of weight 0."""
    running = weights.to(u.dtype).cumsum(-1)
    # kept below the total despite rounding: otherwise the last category, which may be masked, could be drawn
    target = (u.unsqueeze(-1) * running[:, -1:]).minimum(running[:, -1:] * (1.0 - 2.0**-23))
    return (running <= target).sum(-1).clamp_max(weights.shape[-1] - 1)
