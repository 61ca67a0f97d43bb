"""ReinMax for k of K: second-order straight-through for draws without replacement.

    forward   S ~ Plackett-Luce(logits), k-hot, drawn in the order b_1, ..., b_k; p_j = softmax over what is left at draw j
    backward  at tau = 1, for i not in S:  1/2 (g_i - g_{b_k}) sum_{j <= k} p_{j,i}
                          for i in S:      1/2 (g_i - p_{k+1} . g) out_i / (1 - out_i) sum_m q_{i,m}

out and q are defined in _plackett_luce.py. The gradient is exact in the mean for every quadratic function of the subset, and
with k = 1 it is that of ReinMax (Liu et al. 2023, https://arxiv.org/abs/2304.08612), which is the trapezoid rule between two
categories; here it is the rule between two subsets that differ in one category. For tau != 1 the first-order part is taken at
logits / tau, as in ReinMax: the rule above for logits / tau, plus half the difference between the Jacobians of the
inclusion probabilities at tau and at 1.
"""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_tau
from discrete_lightning.functional._keyed import in_place_of
from discrete_lightning.functional._plackett_luce import inclusion_gradient, trapezoid_gradient
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._temperature import log_weights
from discrete_lightning.functional.gumbel import perturb
from discrete_lightning.functional.gumbel_top_k import all_chosen, check_k, k_hot_or_nan, largest


class _ReinMaxSubset(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        logits: Tensor, subset: Tensor, order: Tensor, plain: Tensor, scaled: Tensor, at_tau: Tensor, at_one: Tensor
    ) -> Tensor:
        return subset.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        _, _, order, plain, scaled, at_tau, at_one = inputs
        ctx.save_for_backward(order, plain, scaled, at_tau, at_one)
        ctx.at_one = at_one is at_tau

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        order, plain, scaled, at_tau, at_one = ctx.saved_tensors
        g, log_p = grad_outputs[0].to(scaled.dtype), torch.log_softmax(scaled, -1)
        gradient = trapezoid_gradient(log_p, order, g)
        if not ctx.at_one:
            first_order = inclusion_gradient(log_p, at_tau, g)
            second = inclusion_gradient(torch.log_softmax(plain, -1), at_one, g)
            gradient = gradient + 0.5 * (first_order - second)
        return gradient.to(grad_outputs[0].dtype), None, None, None, None, None, None


def reinmax_subset(
    logits: Tensor, k: int, tau: float | Tensor = 1.0, *, generator: torch.Generator | None = None
) -> Tensor:
    """Exact draws of k of K categories without replacement, with the second-order gradient.

    Args:
        logits: shape (..., K), any floating dtype; -inf masks a category.
        k: number of categories chosen, 1 <= k <= K. With k = K all are ones, with a gradient of zero.
        tau: temperature of the backward pass, > 0; may be one a row (see `gumbel_softmax`). It gets no gradient:
            the sample does not depend on it.
        generator: source of randomness.

    Returns:
        k-hot vectors of the shape and dtype of `logits`.

    Raises:
        ValueError: if k is out of range, tau is not positive, or a row has NaN, +inf or fewer than k categories that are not
            masked.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> reinmax_subset(torch.zeros(2, 5), k=3).sum(-1)
        tensor([3., 3.])
    """
    check_k(logits, k)
    check_tau(tau, logits=logits)
    if k == logits.shape[-1]:
        return all_chosen(logits)
    generator = in_place_of(generator)
    with torch.no_grad():
        plain = scaled = log_weights(float32(logits), 1.0)
        order, valid = largest(perturb(logits, generator), logits, k)
        subset = k_hot_or_nan(logits, order, valid)
        at_tau = at_one = order
        if isinstance(tau, Tensor) or tau != 1:
            noise = perturb(torch.zeros_like(scaled), generator)  # the same for both, so that most of it cancels
            at_one = (scaled + noise).topk(k, -1).indices
            scaled = log_weights(float32(logits), tau)
            at_tau = (scaled + noise).topk(k, -1).indices
    return _ReinMaxSubset.apply(logits, subset, order, plain, scaled, at_tau, at_one)
