"""Gapped straight-through (Fan et al. 2022, https://arxiv.org/abs/2206.07235): straight-through Gumbel without the noise.

    forward   D ~ Categorical(softmax(logits))
    backward  J(softmax(theta' / tau)) g / tau,
              theta' = logits + sg[(max logits - logits) * D - relu(logits - max logits + gap) * (1 - D)]

The shift makes D the largest logit, and keeps a gap between it and the others, as the noise would.
"""

import math
from functools import partial

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_categories, check_rows, check_tau, host_number
from discrete_lightning.functional._cpu_blocks import runs_in_blocks, softmax_in_blocks
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._temperature import over_tau
from discrete_lightning.functional.categorical import draw_index, index_at, two_uniforms
from discrete_lightning.functional.softmax import softmax
from discrete_lightning.functional.straight_through import straight_through_one_hot


def gapped_straight_through(
    logits: Tensor, tau: float | Tensor = 1.0, *, gap: float = 1.0, generator: torch.Generator | None = None
) -> Tensor:
    """One-hot draws from Categorical(softmax(logits)) with the gapped straight-through gradient.

    Args:
        logits: shape (..., K), any floating dtype; -inf masks a category.
        tau: temperature of the backward pass, > 0; may be one a row, see `gumbel_softmax`.
        gap: least distance of the other logits from the chosen one, >= 0.
        generator: source of randomness.

    Returns:
        One-hot samples of the shape and dtype of `logits`.

    Raises:
        ValueError: if tau is not positive, gap is negative, or a row of `logits` has no distribution.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> gapped_straight_through(torch.zeros(4, 3)).sum(-1)
        tensor([1., 1., 1., 1.])
    """
    if not gap >= 0:
        raise ValueError(f"gap must not be negative, got {gap}")
    check_categories(logits, -1)
    check_tau(tau, logits=logits)
    if runs_in_blocks(logits, tau):
        tau = host_number(tau)
        u = two_uniforms(logits.shape[:-1], logits.device, generator)
        soft, index = softmax_in_blocks(logits, tau, partial(_fill, tau=tau, gap=gap, u=u))
        check_rows(soft, logits, -1)
    else:
        with torch.no_grad():
            scores = float32(logits)
            best = scores.amax(-1, keepdim=True)
            check_rows(best - best, logits, -1)  # inf - inf and nan - nan are nan
            relative = scores - best
            index = draw_index(relative.exp(), generator)
            # theta' - max logits: the chosen at 0, the others where they were, but at most at -gap
            target = relative.clamp_max(-gap).scatter(-1, index.unsqueeze(-1), 0.0)
            shift = torch.where(scores.isneginf() & target.isneginf(), 0.0, target - relative)
        soft = softmax(float32(logits) - best + shift, tau).to(logits.dtype)
    return straight_through_one_hot(index, soft, soft.detach()[..., 0])


def _fill(part: slice, rows: Tensor, soft: Tensor, tau: float, gap: float, u: Tensor) -> Tensor:
    """exp(theta' / tau) from exp(logits / tau): the chosen becomes the largest, the others at most exp(-gap / tau) of it."""
    index = index_at(torch.softmax(rows, -1, out=soft), u[:, part])
    if tau != 1:
        torch.softmax(over_tau(rows, tau), -1, out=soft)
    best = soft.amax(-1, keepdim=True)
    soft.clamp_(max=best * math.exp(-gap / tau)).scatter_(-1, index.unsqueeze(-1), best)
    soft.div_(soft.sum(-1, keepdim=True))
    return index
