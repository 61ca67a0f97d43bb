"""The z-loss of ST-MoE (Zoph et al. 2022, https://arxiv.org/abs/2202.08906, eq. 5): it keeps the logits of a router small.

L = mean over tokens of logsumexp(logits)^2
"""

from torch import Tensor

from discrete_lightning.distributed import global_mean
from discrete_lightning.functional._mask import positions_mask, zero_padding
from discrete_lightning.functional._precision import float32


def z_loss(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """The loss over the tokens of all ranks. Weight 1e-3 is usual; optional where the router computes in float32, as here.

    Args:
        logits: (..., N), any floating dtype.
        mask: bool, shape (...) or its first dimensions; False where a token does not count.

    Returns:
        0-dim float32 >= 0; 0 where no token counts.

    Example:
        >>> import torch
        >>> z_loss(torch.tensor([[0.0, 0.0]]))  # log(2)^2
        tensor(0.4805)
    """
    squared = float32(logits).logsumexp(-1).square()
    if mask is None:
        return global_mean(squared.sum(), squared.numel())
    counted = positions_mask(mask, squared.shape)
    return global_mean(zero_padding(squared, counted).sum(), counted.sum())
