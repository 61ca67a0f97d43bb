"""The z-loss of ST-MoE (Zoph et al. 2022, https://arxiv.org/abs/2202.08906, eq. 5): it keeps the logits of a router small.

L = mean over tokens of logsumexp(logits)^2
"""

from torch import Tensor

from discrete_lightning.distributed import global_mean
from discrete_lightning.functional._checks import check_categories, check_rows
from discrete_lightning.functional._mask import positions_mask, zero_padding
from discrete_lightning.functional._precision import float32


def z_loss(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """The loss over the tokens of all ranks. Weight 1e-3 is usual; optional where the router computes in float32, as here.

    Args:
        logits: (..., N), any floating dtype.
        mask: bool, shape (...) or its first dimensions; False where a token does not count.

    Returns:
        0-dim float32 >= 0; 0 where no token counts.

    Raises:
        ValueError: if logits are not floating, the mask does not fit, or (on the CPU) a row has no distribution.

    Example:
        >>> import torch
        >>> z_loss(torch.tensor([[0.0, 0.0]]))  # log(2)^2
        tensor(0.4805)
    """
    check_categories(logits, -1)
    counted = None if mask is None else positions_mask(mask, logits.shape[:-1])
    total = float32(logits if counted is None else zero_padding(logits, counted)).logsumexp(-1)
    check_rows((total - total).detach().unsqueeze(-1), logits, -1)
    if counted is None:
        return global_mean(total.square().sum(), total.numel())
    return global_mean(zero_padding(total.square(), counted).sum(), counted.sum())
