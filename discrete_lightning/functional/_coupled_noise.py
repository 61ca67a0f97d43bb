"""The score function with a control variate that sees relaxed samples, as REBAR and RELAX use it.

    z = log p + G,   b = the k largest of z in their order,   z~ = z given b, as a function of log p and noise v
    gradient = (f(b) - c(z~)) grad log p(b) + grad c(z) - grad c(z~)                  (Tucker et al. 2017, eq. 8)

z given b is itself a draw of z~: v can be chosen such that z~ = z. Then c is evaluated once, and what is left of the two last
terms is the slope s = dc/dz along dz/dlog p - dz~/dlog p. For one category (k = 1), with w_i = exp(z_i - z_b) <= 1,

    gradient = sum_i a_i grad log p_i,   a = (f(b) - c(z)) b + s * w

For k of K let T = exp(-z) be the times of arrival (see gumbel_rao_subset.py): z~ holds the gaps between those of the chosen,
times the mass W_m that is left before each, and of the others (T_i - T_k) p_i, fixed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_rows, is_traced
from discrete_lightning.functional._plackett_luce import left
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._temperature import log_weights
from discrete_lightning.functional.gumbel import perturb
from discrete_lightning.functional.gumbel_top_k import k_hot_or_nan, largest

Function = Callable[[Tensor], Tensor]


class Noisy(NamedTuple):
    """A draw and the noise that it was made of.

    Attributes:
        sample: k-hot (..., K), in the dtype of the logits.
        z: perturbed log-probabilities (..., K), float32, without a gradient; -inf where masked.
        order: int64 (..., k).
    """

    sample: Tensor
    z: Tensor
    order: Tensor


def draw_with_noise(logits: Tensor, k: int, generator: torch.Generator | None) -> Noisy:
    """The k largest of logits + Gumbel noise; ValueError if a row has no subset of k categories."""
    with torch.no_grad():
        scores = perturb(logits, generator)
        if k == 1:
            best, index = scores.max(-1, keepdim=True)
            check_rows(best - best, logits, -1)  # inf - inf and nan - nan are nan
            order, valid = index, (best - best).squeeze(-1)
        else:
            order, valid = largest(scores, logits, k)
        sample = k_hot_or_nan(logits, order, valid)
        return Noisy(sample, scores - torch.logsumexp(float32(logits), -1, keepdim=True), order)


def score(logits: Tensor, noisy: Noisy) -> Tensor:
    """Log p of the draw, in its order, (...)."""
    log_p = torch.log_softmax(float32(logits).clamp_min(-1e30), -1)
    chosen = log_p.gather(-1, noisy.order)
    if noisy.order.shape[-1] == 1:
        return chosen.squeeze(-1)
    return (chosen - left(log_p, noisy.order).log_mass[..., :-1]).sum(-1)


def difference_of_paths(logits: Tensor, noisy: Noisy) -> Tensor:
    """A tensor (..., K) that is 0, with the gradient of z - z~ to the logits."""
    z, order = noisy.z, noisy.order
    if order.shape[-1] == 1:
        log_p = torch.log_softmax(float32(logits).clamp_min(-1e30), -1)
        path = (z - z.gather(-1, order)).exp() * log_p
        return path - path.detach()
    log_p = log_weights(float32(logits), 1.0)
    log_p = log_p - log_p.logsumexp(-1, keepdim=True)
    log_mass = left(log_p, order).log_mass[..., :-1]
    times = -z.gather(-1, order)  # logarithms, rising
    before = torch.cat([torch.full_like(times[..., :1], -torch.inf), times[..., :-1]], -1)
    gaps = times + torch.log(-torch.expm1((before - times).clamp_max(-1e-7)))
    chosen = (gaps + log_mass.detach() - log_mass).logcumsumexp(-1)
    log_ratio = (z - z.gather(-1, order[..., -1:])).clamp_max(-1e-7)  # of T_k to T_i
    late = torch.log(-torch.expm1(log_ratio))
    late = torch.where(z.isneginf(), 0.0, late - z) + log_p.detach() - log_p
    others = torch.logaddexp(chosen[..., -1:], late)
    path = torch.where(z.isneginf(), 0.0, log_p + others).scatter(-1, order, log_p.gather(-1, order) + chosen)
    return path - path.detach()


def slope_of(control: Function, z: Tensor, create_graph: bool = False) -> tuple[Tensor, Tensor]:
    """Values (B,) of a control variate at z (B, ...), and its slope of the shape of z.

    Raises:
        ValueError: if it does not depend on z differentiably.
    """
    if is_traced():  # a compiler traces this, but not torch.autograd.grad
        traced: Any = torch.func.vjp(control, z.detach())
        values, pullback = traced
        return values, pullback(torch.ones_like(values))[0]
    with torch.enable_grad():
        leaf = z.detach().requires_grad_()
        values = control(leaf)
        if not values.requires_grad:
            raise ValueError(
                "REBAR and RELAX differentiate the function at relaxed samples, and this one has no gradient: take "
                "LeaveOneOut or IndeCateR, or RELAX with eta=0 and a surrogate"
            )
        (slope,) = torch.autograd.grad(values.sum(), leaf, create_graph=create_graph)
    return values, slope


def sum_of_event(x: Tensor) -> Tensor:
    """Sums (B,) of (B, *event)."""
    return x.flatten(1).sum(1) if x.ndim > 1 else x
