"""Division of logits by a temperature, at every temperature that float32 holds.

    z = x / tau,   or (x - max x) / tau where that would overflow;   both have the same softmax

Entries that are masked or far below have probability 0. A learned tau gets

    d/dtau = -sum_i g_i z_i / tau

with z bounded: where z is huge g_i = 0, and 0 * inf would be NaN.
"""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_rows, host_number, values_can_be_read

LARGEST = 1e38  # of |z| where a tau is learned; softmax and sigmoid are constant beyond it

_WIDEST = 1e37  # range of a row of `log_weights`


class _OverTau(torch.autograd.Function):
    generate_vmap_rule = True

    # tau is 0-dim, or broadcasts against x
    @staticmethod
    def forward(x: Tensor, tau: Tensor) -> Tensor:
        return (x / tau).clamp_(-LARGEST, LARGEST)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1], output)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:
        tau, z = ctx.saved_tensors
        g = grad_outputs[0]
        total = (g * z / tau).sum_to_size(tau.shape) if tau.ndim else (g * z).sum() / tau
        return g / tau, (-total).to(tau.dtype)


def over_tau(scores: Tensor, tau: float | Tensor, dim: int = -1, best: Tensor | None = None) -> Tensor:
    """`scores` divided by `tau`, less a constant along `dim` where needed: its softmax is that of scores / tau.

    At a score of -inf the result is -inf, or -1e38 if tau is learned. If `best`, the largest score of each row, is known,
    values are not looked at.

    Raises:
        ValueError: if a row has no distribution (NaN, +inf, all -inf); on an accelerator it becomes NaN.
    """
    if not isinstance(tau, Tensor) and tau == 1:
        return scores
    if best is None:
        best = scores.detach().amax(dim, keepdim=True)
        check_rows(best - best, scores, dim)  # inf - inf and nan - nan are nan
        if values_can_be_read(scores) and not _overflow(best, tau):
            return _quotient(scores, tau)
    return _quotient(scores - best, tau)


def log_weights(scores: Tensor, tau: float | Tensor) -> Tensor:
    """`scores` divided by `tau`, up to a constant a row (..., K), finite: -1e38 where masked, at least -1e37 elsewhere.

    For draws without replacement, where what is far below the largest matters once that is drawn. A tau so low that a row would
    not fit is raised for that row: its categories are then drawn in the order of their scores, as they would be anyway.
    """
    detached = scores.detach()
    if (
        detached.numel()
        and values_can_be_read(scores)
        and max(map(abs, map(host_number, detached.aminmax()))) / _smallest(tau) <= _WIDEST
    ):
        return _quotient(scores, tau)  # nothing is masked, and every row fits
    masked = scores.isneginf()
    best = detached.amax(-1, keepdim=True)
    lowest = detached.masked_fill(masked, torch.inf).amin(-1, keepdim=True)
    least = best / _WIDEST - lowest / _WIDEST
    tau = torch.maximum(least, tau) if isinstance(tau, Tensor) else least.clamp_min(tau)
    shifted = (scores - best).clamp_min(torch.finfo(scores.dtype).min)
    return _quotient(shifted, tau).masked_fill(masked, -LARGEST)


def over_tau_(scores: Tensor, best: Tensor, tau: float) -> Tensor:
    """`over_tau` in place on the CPU, without a gradient, given the largest score of each row (..., 1)."""
    if tau == 1:
        return scores
    return (scores.sub_(best) if _overflow(best, tau) else scores).div_(tau)


def sigmoid_over_tau(log_odds: Tensor, tau: float | Tensor) -> Tensor:
    """sigmoid(log_odds / tau): 0 or 1 at infinite log-odds, whatever tau, with a gradient of 0."""
    return torch.sigmoid(_quotient(log_odds, tau))


def _smallest(tau: float | Tensor) -> float:
    return host_number(tau.detach().amin() if isinstance(tau, Tensor) and tau.ndim else tau)


def _overflow(best: Tensor, tau: float | Tensor) -> bool:
    return bool(host_number(((best / tau).abs() > LARGEST).any()))


def _quotient(x: Tensor, tau: float | Tensor) -> Tensor:
    if isinstance(tau, Tensor) and tau.ndim:
        tau = tau.to(x.dtype)  # one that is not 0-dim would decide the dtype of the result
    return _OverTau.apply(x, tau) if isinstance(tau, Tensor) and tau.requires_grad else x / tau
