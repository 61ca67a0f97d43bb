"""Probabilities and one exact draw from them, which every estimator without Gumbel noise starts from."""

from functools import partial

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_categories, check_rows, check_tau, host_number
from discrete_lightning.functional._cpu_blocks import runs_in_blocks, softmax_in_blocks
from discrete_lightning.functional._temperature import over_tau
from discrete_lightning.functional.categorical import draw_index, index_at, two_uniforms
from discrete_lightning.functional.softmax import softmax


def softmax_draw(
    logits: Tensor, tau: float | Tensor = 1.0, *, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Probabilities p = softmax(logits / tau) in float32, with its gradient, and int64 draws from Categorical(p).

    Args:
        logits: shape (..., K), any floating dtype; -inf masks a category.
        tau: temperature > 0, a number, a 0-dim tensor, or one a row: it broadcasts against logits[..., :1].
        generator: source of randomness.

    Returns:
        Probabilities (..., K), float32 (float64 of float64 logits), and indices (...).

    Raises:
        ValueError: if tau is not positive, or a row of `logits` has no distribution.

    Example:
        >>> softmax_draw(torch.tensor([0.0, -torch.inf]))
        (tensor([1., 0.]), tensor(0))
    """
    check_categories(logits, -1)
    check_tau(tau, logits=logits)
    if not runs_in_blocks(logits, tau):
        p = softmax(logits, tau)
        return p, draw_index(p.detach(), generator)
    tau = host_number(tau)
    u = two_uniforms(logits.shape[:-1], logits.device, generator)
    p, index = softmax_in_blocks(logits, tau, partial(_fill, tau=tau, u=u))
    check_rows(p, logits, -1)
    return p, index


def _fill(part: slice, rows: Tensor, soft: Tensor, tau: float, u: Tensor) -> Tensor:
    scaled = rows if tau == 1 else over_tau(rows, tau)
    return index_at(torch.softmax(scaled, -1, out=soft), u[:, part])
