"""Commitment loss (van den Oord et al. 2017, eq. 3; https://arxiv.org/abs/1711.00937): |x - sg[c]|^2."""

from torch import Tensor

from discrete_lightning.functional._precision import float32


def commitment_loss(vectors: Tensor, codes: Tensor) -> Tensor:
    """Mean squared distance of vectors to their codes, with a gradient to the vectors only.

    Args:
        vectors: shape (..., D).
        codes: the code of each vector, same shape.

    Returns:
        0-dim float32 mean over all elements, >= 0; 0 for an empty batch.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> import torch
        >>> commitment_loss(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 1.0]]))
        tensor(2.)
    """
    if vectors.shape != codes.shape:
        raise ValueError(f"each vector needs its code: vectors {tuple(vectors.shape)}, codes {tuple(codes.shape)}")
    return (float32(vectors) - float32(codes.detach())).square().sum() / max(1, vectors.numel())
