"""Masks of positions in batches of sequences of different lengths: True at a real position, False at padding."""

import torch
from torch import Tensor


def positions_mask(mask: Tensor, shape: torch.Size) -> Tensor:
    """`mask` expanded to the positions `shape`.

    Args:
        mask: bool, of the shape of the positions or of its first dimensions; a dimension may be 1 instead.
        shape: of the positions: that of vectors or logits without their last dimension.

    Raises:
        ValueError: if the mask is not bool, or of another shape.
    """
    fits = mask.ndim <= len(shape) and all(mine in (1, size) for mine, size in zip(mask.shape, shape, strict=False))
    if mask.dtype != torch.bool or not fits:
        raise ValueError(
            f"a mask is bool, True at real positions, of shape {tuple(shape)} or of its first dimensions; got {mask.dtype} "
            f"{tuple(mask.shape)}. Convert 0 and 1 with mask.bool(), and a mask that is True at padding with ~mask"
        )
    return mask.reshape((*mask.shape, *[1] * (len(shape) - mask.ndim))).expand(shape)


def zero_padding(x: Tensor, mask: Tensor) -> Tensor:
    """`x` with zeros where `mask` (of the first dimensions of `x`) is False. Values at padding, NaN too, have no effect and get
    no gradient."""
    return torch.where(mask.reshape((*mask.shape, *[1] * (x.ndim - mask.ndim))), x, 0.0)
