"""The softmax with a temperature, which every estimator of categorical variables starts from: softmax(logits / tau)."""

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_categories, check_rows, check_tau
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._temperature import over_tau


def softmax(logits: Tensor, tau: float | Tensor = 1.0, dim: int = -1) -> Tensor:
    """softmax(logits / tau) in float32, for logits and temperatures of any size.

    A category that is masked (a logit of -inf) gets 0 at every tau, and adds 0 to the gradient to a learned `tau`. `tau` is a
    number, a 0-dim tensor, or a tensor of one temperature a row: it broadcasts against `logits`, and has size 1 in `dim`.

    Raises:
        ValueError: if tau is not positive, or a row of `logits` has no distribution (NaN, +inf, all -inf).

    Example:
        >>> softmax(torch.tensor([0.0, -torch.inf]), 0.5)
        tensor([1., 0.])
    """
    check_categories(logits, dim)
    check_tau(tau, logits=logits, dim=dim)
    result = torch.softmax(over_tau(float32(logits), tau, dim), dim)
    check_rows(result, logits, dim)
    return result
