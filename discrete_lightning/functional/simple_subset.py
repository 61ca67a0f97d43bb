"""SIMPLE, a gradient for k of D: Ahmed et al. 2023 (https://arxiv.org/abs/2210.01941).

    forward   S ~ conditional Bernoulli(logits), k-hot:   p(S) = prod_{i in S} exp(logits_i) / e_k(exp(logits))
    backward  d/dlogits of mu . g,   mu_i = P(i in S) at logits / tau;   the Jacobian is Cov(1[i in S], 1[j in S]) / tau

Straight-through as of Bengio et al. 2013 (https://arxiv.org/abs/1308.3432), whose mu is softmax(logits / tau): SIMPLE with
k = 1. The Jacobian is exact, so at tau = 1 the gradient of a function that is linear in the subset is exact for each draw;
`straight_through_subset` does the same for draws from Plackett-Luce, with an estimate of their Jacobian.
"""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_tau
from discrete_lightning.functional._poisson_binomial import covariance_product, draw_ones, tilted
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._temperature import log_weights
from discrete_lightning.functional.conditional_bernoulli import tilted_rows
from discrete_lightning.functional.gumbel_top_k import all_chosen, check_k


class _Simple(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, subset: Tensor, k: int) -> Tensor:
        return subset.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, _, ctx.k = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        return covariance_product(ctx.saved_tensors[0], grad_outputs[0], ctx.k), None, None


def simple_subset(
    logits: Tensor, k: int, tau: float | Tensor = 1.0, *, generator: torch.Generator | None = None
) -> Tensor:
    """Exact draws of k of D from the conditional Bernoulli distribution, with the gradient of their marginals.

    Args:
        logits: shape (..., D), any floating dtype; -inf masks a category.
        k: number of categories chosen, 1 <= k <= D. With k = D all are ones, with a gradient of zero.
        tau: temperature of the backward pass, > 0; a tensor, 0-dim or one a row (see `gumbel_softmax`), may be learnable.
        generator: source of randomness.

    Returns:
        k-hot vectors of the shape and dtype of `logits`.

    Raises:
        ValueError: if k is out of range, tau is not positive, or a row has NaN, +inf or fewer than k categories that are not
            masked.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> simple_subset(torch.zeros(2, 5), k=3).sum(-1)
        tensor([3., 3.])
    """
    check_k(logits, k)
    check_tau(tau, logits=logits)
    if k == logits.shape[-1]:
        return all_chosen(logits)
    x, _, valid = tilted_rows(logits, k)
    with torch.no_grad():
        subset = draw_ones(x, k, generator) + valid.unsqueeze(-1)
    if isinstance(tau, Tensor) or tau != 1:
        x = tilted(log_weights(float32(logits), tau), k)
    return _Simple.apply(x, subset, k).to(logits.dtype)
