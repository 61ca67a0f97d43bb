"""Commitment loss (van den Oord et al. 2017, eq. 3; https://arxiv.org/abs/1711.00937): |x - sg[c]|^2."""

from torch import Tensor

from discrete_lightning.functional._checks import check_floating
from discrete_lightning.functional._mask import positions_mask, zero_padding
from discrete_lightning.functional._precision import float32


def commitment_loss(vectors: Tensor, codes: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared distance of vectors to their codes, with a gradient to the vectors only.

    Args:
        vectors: shape (..., D).
        codes: the code of each vector, same shape.
        mask: bool, shape (...) or its first dimensions; False where a vector is padding and does not count.

    Returns:
        0-dim float32 mean over the elements of the vectors of this rank, as torch's losses; >= 0, and 0 without any.

    Raises:
        ValueError: if the shapes differ, or a tensor is not floating.

    Example:
        >>> import torch
        >>> commitment_loss(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 1.0]]))
        tensor(2.)
    """
    check_floating(vectors, "vectors")
    check_floating(codes, "codes")
    if vectors.shape != codes.shape:
        raise ValueError(f"each vector needs its code: vectors {tuple(vectors.shape)}, codes {tuple(codes.shape)}")
    difference = float32(vectors) - float32(codes.detach())
    if mask is None:
        return difference.square().sum() / max(1, vectors.numel())
    counted = positions_mask(mask, vectors.shape[:-1])
    return zero_padding(difference, counted).square().sum() / (counted.sum() * vectors.shape[-1]).clamp_min(1)
