"""The softmax with a temperature, which every estimator of categorical variables starts from: softmax(logits / tau)."""

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_categories, check_rows, check_tau
from discrete_lightning.functional._precision import float32


def softmax(logits: Tensor, tau: float | Tensor = 1.0, dim: int = -1) -> Tensor:
    """softmax(logits / tau) in float32; its gradient to `tau` is correct also with masked categories (logits of -inf).

    Raises:
        ValueError: if tau is not positive, or a row of `logits` has no distribution (NaN, +inf, all -inf).

    Example:
        >>> softmax(torch.tensor([0.0, -torch.inf]), 0.5)
        tensor([1., 0.])
    """
    check_tau(tau)
    check_categories(logits, dim)
    scaled = float32(logits)
    if isinstance(tau, Tensor) and tau.requires_grad:
        # d(x / tau)/dtau = -x / tau^2 would be 0 * inf = nan at a masked category; a row without a distribution stays nan
        best = scaled.detach().amax(dim, keepdim=True)
        scaled = scaled.clamp_min(-1e30) + (best - best)
    if isinstance(tau, Tensor) or tau != 1.0:
        scaled = scaled / tau
    result = torch.softmax(scaled, dim)
    check_rows(result, logits, dim)
    return result
