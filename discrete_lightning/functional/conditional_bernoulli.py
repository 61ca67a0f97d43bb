"""The conditional Bernoulli distribution: k of D categories, each subset with the product of its weights as probability.

    p(S) = prod_{i in S} w_i / e_k(w),   w = exp(logits),   e_k(w) = sum over all S of k of prod_{i in S} w_i

Independent bits of odds w_i, given that k of them are 1 (Chen, Dempster and Liu 1994, https://doi.org/10.1093/biomet/81.3.457).
It is not the distribution of Gumbel top-k with the same logits (Plackett-Luce), save for k = 1 and k = D. It is of the
exponential family, so with log e_k all else is exact, too:

    mu_i = P(i in S) = d log e_k / d logits_i,    d mu_i / d logits_j = Cov(1[i in S], 1[j in S])

How each is computed in O(D k), in float32: _poisson_binomial.py.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from discrete_lightning.functional._checks import check_subset_rows
from discrete_lightning.functional._poisson_binomial import (
    covariance_product,
    draw_ones,
    log_count_probability,
    marginals,
    tilted,
)
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional.gumbel_top_k import all_chosen, check_k


class _Marginals(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, k: int) -> Tensor:
        return marginals(x, k)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.k = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return covariance_product(ctx.saved_tensors[0], grad_outputs[0], ctx.k), None


class _LogCountProbability(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, k: int) -> Tensor:
        return log_count_probability(x, k)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.k = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grad_outputs[0].unsqueeze(-1) * (_Marginals.apply(x, ctx.k) - torch.sigmoid(x)), None


def tilted_rows(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """`tilted` logits in float32, the indices of the k largest (..., k), and for each row 0, or NaN if it is not valid.

    Raises:
        ValueError: if a row has no subset of k < D categories, and that can be seen without waiting for a device.
    """
    scores = float32(logits)
    top, index = scores.detach().topk(k + 1, -1)
    first, last = top[..., 0], top[..., k - 1]  # NaN and +inf come first, -inf last; each minus itself is NaN
    valid = (first - first) + (last - last)
    check_subset_rows(valid, logits, k)
    return tilted(scores, k, top), index[..., :k], valid


def log_elementary_symmetric(logits: Tensor, k: int) -> Tensor:
    """Logarithm of e_k(exp(logits)): of the sum, over all subsets of k categories, of the product of their weights.

    Its gradient is `subset_marginals`, exactly.

    Args:
        logits: log weights (..., D), any floating dtype; -inf masks a category.
        k: number of categories in a subset, 1 <= k <= D.

    Returns:
        (...), float32 (float64 of float64 logits). Its error is at most 1e-7 D, plus rounding of the sum of the k largest
        logits.

    Raises:
        ValueError: if k is out of range, or a row has NaN, +inf or fewer than k categories that are not masked (on an
            accelerator its result is NaN).

    Example:
        >>> log_elementary_symmetric(torch.tensor([1.0, 2.0, 3.0]).log(), 2).exp()  # 1 * 2 + 1 * 3 + 2 * 3
        tensor(11.0000)
    """
    check_k(logits, k)
    if k == logits.shape[-1]:
        all_chosen(logits)  # says which rows have no such subset
        return float32(logits).sum(-1)
    x, index, valid = tilted_rows(logits, k)
    # prod_{i in S} w_i / p(S) for the likeliest S: nothing large cancels
    likeliest = torch.zeros_like(x, dtype=torch.bool).scatter(-1, index, True)
    return float32(logits).gather(-1, index).sum(-1) - _log_probability(x, likeliest, k) + valid


def subset_marginals(logits: Tensor, k: int) -> Tensor:
    """Inclusion probabilities P(i in S) of the conditional Bernoulli distribution, with their gradient.

    For k = 1 they are softmax(logits).

    Args:
        logits: log weights (..., D), any floating dtype; -inf masks a category.
        k: number of categories in a subset, 1 <= k <= D. With k = D all are ones, with a gradient of zero.

    Returns:
        Shape and dtype of `logits`; between 0 and 1, sums to k in the last dimension.

    Raises:
        ValueError: if k is out of range, or a row has NaN, +inf or fewer than k categories that are not masked (on an
            accelerator its result is NaN).

    Example:
        >>> subset_marginals(torch.tensor([2.0, 1.0, 0.0, -1.0, 0.5]), 2)
        tensor([0.7966, 0.5317, 0.2279, 0.0882, 0.3556])
    """
    check_k(logits, k)
    if k == logits.shape[-1]:
        return all_chosen(logits)
    x, _, valid = tilted_rows(logits, k)
    return (_Marginals.apply(x, k) + valid.unsqueeze(-1)).to(logits.dtype)


def conditional_bernoulli(logits: Tensor, k: int, *, generator: torch.Generator | None = None) -> Tensor:
    """Exact draws of k categories from the conditional Bernoulli distribution, as k-hot vectors. No gradient.

    `subset_k_hot` draws from Plackett-Luce; `log_probability(..., subsets="conditional_bernoulli")` has the probabilities.

    Args:
        logits: log weights (..., D), any floating dtype; -inf masks a category.
        k: number of categories drawn, 1 <= k <= D.
        generator: source of randomness.

    Returns:
        Shape and dtype of `logits`.

    Raises:
        ValueError: if k is out of range, or a row has NaN, +inf or fewer than k categories that are not masked (on an
            accelerator its result is NaN).

    Example:
        >>> conditional_bernoulli(torch.tensor([0.0, -torch.inf, 0.0]), 2)
        tensor([1., 0., 1.])
    """
    check_k(logits, k)
    with torch.no_grad():
        if k == logits.shape[-1]:
            return all_chosen(logits)
        x, _, valid = tilted_rows(logits, k)
        return (draw_ones(x, k, generator) + valid.unsqueeze(-1)).to(logits.dtype)


def log_subset(scores: Tensor, sample: Tensor, k: int) -> Tensor:
    """Log-probabilities of k-hot samples (..., D) for finite scores that broadcast against them, 1 < k < D.

    Of the tilted bits, whose logarithms are all of one sign, where the two terms of the formula would cancel.
    """
    return _log_probability(tilted(scores, k), sample > 0.5, k)


def _log_probability(x: Tensor, chosen: Tensor, k: int) -> Tensor:
    return logsigmoid(torch.where(chosen, x, -x)).sum(-1) - _LogCountProbability.apply(x, k)
