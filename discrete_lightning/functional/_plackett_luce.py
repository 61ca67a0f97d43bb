"""How the probability that a category is among k drawn without replacement depends on its logit.

Gumbel top-k is a race: category i arrives after a time T_i ~ Exp(w_i), w = exp(logits), and the first k are chosen. Let the
others arrive in the order o_1, o_2, ...; then i is among the first k if it arrives before o_k. With W'_m = the sum of w over
the others but o_1, ..., o_{m-1}, and q_m = w_i / (w_i + W'_m),

    P(i not chosen | order of the others) = prod_{m=1}^{k} (1 - q_m) =: out_i
    d P(i chosen | order of the others) / d logit_i = out_i * sum_{m=1}^{k} q_m

since T_i is independent of the others' times, whose gaps are Exp(W'_m). If i is chosen, it takes the place of o_k. So for
any function f of the subset, with f(+i) its value with i and f(-i) that with o_k instead,

    d E[f] / d logit_i = E over the order of the others [ out_i * sum_m q_m * (f(+i) - f(-i)) ]

This is our own derivation; tests/functional/test_plackett_luce.py compares it with the enumeration of all subsets.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Left(NamedTuple):
    """What is left at each draw b_1, ..., b_k from weights w = exp(log_p).

    Attributes:
        log_mass: (..., k + 1), log of the sum of w over all categories but b_1, ..., b_{j-1}, for j = 1, ..., k + 1.
        odds: (..., k), sum_m q_m of each chosen category b_j, the others being in the order of the draw.
        log_out: (..., k), log out_i of each chosen category.
    """

    log_mass: Tensor
    odds: Tensor
    log_out: Tensor


def left(log_p: Tensor, order: Tensor) -> Left:
    """Masses and probabilities of the chosen categories, for log weights (..., K) and a draw `order` (..., k), k < K."""
    chosen = log_p.gather(-1, order)
    rest = without(log_p, order).logsumexp(-1, keepdim=True)
    log_mass = torch.cat([chosen, rest], -1).flip(-1).logcumsumexp(-1).flip(-1)
    weight = chosen.unsqueeze(-1)
    # W'_m + w_i is W_m while i = b_j has not been drawn (m < j); after that W'_m is W_{m+1}
    before = (weight - log_mass[..., :-1].unsqueeze(-2)).exp().clamp_max(1.0)
    after = torch.sigmoid(weight - log_mass[..., 1:].unsqueeze(-2))
    k = order.shape[-1]
    earlier = torch.ones(k, k, dtype=torch.bool, device=order.device).tril(-1)
    q = torch.where(earlier, before, after)
    return Left(log_mass, q.sum(-1), torch.log1p(-q).sum(-1))


def without(log_p: Tensor, order: Tensor) -> Tensor:
    """`log_p` with -inf at the categories `order` (..., j)."""
    return log_p.scatter(-1, order, -torch.inf)


def shares(log_p: Tensor, log_mass: Tensor) -> Tensor:
    """exp(log_p - log_mass), the probabilities of one draw, for log_mass (...)."""
    return (log_p - log_mass.unsqueeze(-1)).exp().clamp_max(1.0)


def total_share(log_p: Tensor, log_mass: Tensor) -> Tensor:
    """sum_m q_m of the categories that were not chosen: their probabilities summed over the k draws, (..., K)."""
    return (log_p + (-log_mass[..., :-1]).logsumexp(-1, keepdim=True)).exp()


def mean_of(g: Tensor, p: Tensor) -> Tensor:
    """The mean of g under p: p . g over the last dimension, which is kept."""
    return (p * g).sum(-1, keepdim=True)


def inclusion_gradient(log_p: Tensor, order: Tensor, g: Tensor) -> Tensor:
    """Gradient of pi . g, pi_i = P(i among the k drawn); unbiased over draws `order` from log_p.

    The last arrival o_k of the formula is averaged over. With k = 1 the result does not depend on `order`: it is
    p * (g - p . g), exactly.

    Args:
        log_p: log weights (..., K), normalised.
        order: int64 (..., k), an exact draw from them that is independent of g; k < K.
        g: (..., K).

    Returns:
        Shape of `log_p`.
    """
    k = order.shape[-1]
    log_mass, odds, log_out = left(log_p, order)
    stays_out = torch.ones_like(log_p)
    for m in range(k - 1):
        stays_out = stays_out * (1 - shares(log_p, log_mass[..., m]))
    last = shares(without(log_p, order[..., :-1]), log_mass[..., k - 1])
    gradient = stays_out * total_share(log_p, log_mass) * (g - mean_of(g, last))
    # for b_1, ..., b_{k-1} the k-th of the others is drawn from what is left after b_k
    coming = shares(without(log_p, order), log_mass[..., k])
    chosen = log_out.exp() * odds * (g.gather(-1, order) - mean_of(g, coming))
    return gradient.scatter(-1, order[..., :-1], chosen[..., :-1])


def trapezoid_gradient(log_p: Tensor, order: Tensor, g: Tensor) -> Tensor:
    """The exact gradient of E[f] in the mean for every quadratic f, from its slope g at the draw itself.

    f(+i) - f(-i) is half the sum of the slopes at both subsets along e_i - e_{o_k}. The draw is one of the two, so its slope
    divided by the probability of that one is unbiased. With k = 1 this is ReinMax at tau = 1.

    Args:
        log_p: log weights (..., K), normalised.
        order: int64 (..., k), the draw; k < K.
        g: df/dsubset at the draw, (..., K).

    Returns:
        Shape of `log_p`.
    """
    log_mass, odds, log_out = left(log_p, order)
    gradient = 0.5 * total_share(log_p, log_mass) * (g - g.gather(-1, order[..., -1:]))
    coming = shares(without(log_p, order), log_mass[..., -1])
    tiny = torch.finfo(log_p.dtype).tiny
    # sum_m q_m / (1 - out) -> 1 as both go to 0
    ratio = torch.where(odds > tiny, odds / (-torch.expm1(log_out)).clamp_min(tiny), 1.0)
    chosen = 0.5 * log_out.exp() * ratio * (g.gather(-1, order) - mean_of(g, coming))
    return gradient.scatter(-1, order, chosen)
