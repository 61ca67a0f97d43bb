"""Gapped straight-through for k of K: relaxed top-k without noise, of logits shifted so that the drawn subset leads by a gap.

    forward   S ~ Plackett-Luce(logits), k-hot (see gumbel_top_k)
    backward  relaxed top-k without noise of theta' at tau (see relaxed_top_k), with m = the k-th largest logit:
              theta'_i = max(logits_i, m) for i in S,   min(logits_i, m - gap) for the others;   the shift is a constant

With k = 1 it is gapped straight-through (Fan et al. 2022, https://arxiv.org/abs/2206.07235), where m is the largest logit.
"""

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_tau
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional.gumbel import perturb
from discrete_lightning.functional.gumbel_top_k import all_chosen, check_k, k_hot_or_nan, largest
from discrete_lightning.functional.relaxed_top_k import successive_softmax
from discrete_lightning.functional.straight_through import straight_through


def gapped_subset(
    logits: Tensor, k: int, tau: float | Tensor = 1.0, *, gap: float = 1.0, generator: torch.Generator | None = None
) -> Tensor:
    """Exact draws of k of K categories without replacement, with the gapped straight-through gradient.

    Args:
        logits: shape (..., K), any floating dtype; -inf masks a category.
        k: number of categories chosen, 1 <= k <= K. With k = K all are ones, with a gradient of zero.
        tau: temperature of the backward pass, > 0; a tensor, 0-dim or one a row (see `gumbel_softmax`), may be learnable.
            Drawn categories can tie in theta', where the gradient grows as tau^-k: a tau near the lower end of float32 makes it
            infinite.
        gap: least distance of the other logits from the chosen ones, >= 0.
        generator: source of randomness.

    Returns:
        k-hot vectors of the shape and dtype of `logits`.

    Raises:
        ValueError: if k is out of range, tau is not positive, gap is negative, or a row has NaN, +inf or fewer than k
            categories that are not masked.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> gapped_subset(torch.zeros(2, 5), k=3).sum(-1)
        tensor([3., 3.])
    """
    if not gap >= 0:
        raise ValueError(f"gap must not be negative, got {gap}")
    check_k(logits, k)
    check_tau(tau, logits=logits)
    if k == logits.shape[-1]:
        return all_chosen(logits)
    scores = float32(logits)
    with torch.no_grad():
        order, valid = largest(perturb(logits, generator), logits, k)
        subset = k_hot_or_nan(logits, order, valid)
        threshold = scores.topk(k, -1).values[..., -1:]
        led = torch.where(subset != 0, scores.maximum(threshold), scores.minimum(threshold - gap))
        shift = torch.where(scores.isneginf(), 0.0, led - scores)
    return straight_through(subset, successive_softmax(scores + shift, k, tau).to(logits.dtype))
