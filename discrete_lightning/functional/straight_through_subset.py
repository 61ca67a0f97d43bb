"""Straight-through for k of K: an exact draw forward, the gradient of the inclusion probabilities backward.

    forward   S ~ Plackett-Luce(logits), k-hot (see gumbel_top_k)
    backward  d/dlogits of pi . g,   pi_i = P(i in S) at logits / tau

As Bengio et al. 2013 (https://arxiv.org/abs/1308.3432) do for one category, where pi = softmax(logits / tau). For k > 1 the
Jacobian is estimated without bias from a second, independent draw (_plackett_luce.py), so for functions that are linear in
the subset the gradient is exact in the mean at tau = 1. SIMPLE (Ahmed et al. 2023, https://arxiv.org/abs/2210.01941) is the
same idea for another distribution of subsets, p(S) ~ prod_{i in S} exp(logits_i).
"""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_tau
from discrete_lightning.functional._keyed import in_place_of
from discrete_lightning.functional._plackett_luce import inclusion_gradient
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._temperature import log_weights
from discrete_lightning.functional.gumbel import gumbel_noise, perturb
from discrete_lightning.functional.gumbel_top_k import all_chosen, check_k, k_hot_or_nan, largest


class _StraightThroughSubset(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(scores: Tensor, subset: Tensor, order: Tensor) -> Tensor:
        return subset.to(scores.dtype, copy=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        scores, _, order = inputs
        ctx.save_for_backward(scores, order)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        scores, order = ctx.saved_tensors
        return inclusion_gradient(torch.log_softmax(scores, -1), order, grad_outputs[0]), None, None


def straight_through_subset(
    logits: Tensor,
    k: int,
    tau: float | Tensor = 1.0,
    *,
    forward_tau: float | Tensor = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Exact draws of k of K categories without replacement, with the gradient of their inclusion probabilities.

    Args:
        logits: shape (..., K), any floating dtype; -inf masks a category.
        k: number of categories chosen, 1 <= k <= K. With k = K all are ones, with a gradient of zero.
        tau: temperature of the backward pass, > 0; a tensor, 0-dim or one a row (see `gumbel_softmax`), may be learnable.
        forward_tau: temperature of the draw, > 0: S ~ Plackett-Luce(logits / forward_tau).
        generator: source of randomness.

    Returns:
        k-hot vectors of the shape and dtype of `logits`.

    Raises:
        ValueError: if k is out of range, a temperature is not positive, or a row has NaN, +inf or fewer than k categories
            that are not masked.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> straight_through_subset(torch.zeros(2, 5), k=3).sum(-1)
        tensor([3., 3.])
    """
    check_k(logits, k)
    check_tau(tau, logits=logits)
    check_tau(forward_tau, "forward_tau", logits=logits)
    if k == logits.shape[-1]:
        return all_chosen(logits)
    generator = in_place_of(generator)
    with torch.no_grad():
        drawn, valid = largest(_perturb_at(logits, forward_tau, generator), logits, k)
        subset = k_hot_or_nan(logits, drawn, valid)
    scores = log_weights(float32(logits), tau)
    order = perturb(scores.detach(), generator).topk(k, -1).indices
    return _StraightThroughSubset.apply(scores, subset, order).to(logits.dtype)


def _perturb_at(logits: Tensor, tau: float | Tensor, generator: torch.Generator | None) -> Tensor:
    """Scores in the order of logits / tau + Gumbel noise; neither a low nor a high tau overflows."""
    noise = gumbel_noise(logits.shape, device=logits.device, generator=generator)
    if isinstance(tau, Tensor):
        return float32(logits) / tau.clamp_min(1.0) + noise * tau.clamp_max(1.0)
    return float32(logits) / max(tau, 1.0) + noise * min(tau, 1.0)
