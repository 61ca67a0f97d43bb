"""Gumbel-softmax (Jang et al. 2016, https://arxiv.org/abs/1611.01144; Maddison et al. 2016, https://arxiv.org/abs/1611.00712).

y = softmax((logits + G) / tau),  G ~ Gumbel;    hard: one-hot argmax(logits + G) forward, gradient of y backward
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_categories, check_rows, check_tau, host_number
from discrete_lightning.functional._cpu_blocks import fill_blocks, runs_in_blocks, softmax_in_blocks
from discrete_lightning.functional._logarithms import log_
from discrete_lightning.functional._temperature import over_tau_
from discrete_lightning.functional.gumbel import exponential_source, perturb
from discrete_lightning.functional.softmax import softmax
from discrete_lightning.functional.straight_through import straight_through_one_hot

Source = Callable[[Tensor, int], Tensor]


def _relaxed(
    part: slice, rows: Tensor, soft: Tensor, tau: float, chosen: Tensor | None, exponential_: Source
) -> Tensor:
    """Relaxed samples in `soft`, and the choices of the same noise in `chosen`. 0 for each row, NaN without a distribution."""
    best = _perturbed(part, rows, soft, exponential_)
    if chosen is not None:
        _choose(soft, best, chosen[part])
    torch.softmax(over_tau_(soft, best, tau), -1, out=soft)
    return (best - best).squeeze(-1)  # inf - inf and nan - nan are nan


def _discrete(part: slice, rows: Tensor, chosen: Tensor, exponential_: Source) -> Tensor:
    """As `_relaxed`, where nobody needs a gradient."""
    perturbed = torch.empty_like(chosen)
    best = _perturbed(part, rows, perturbed, exponential_)
    _choose(perturbed, best, chosen)
    return (best - best).squeeze(-1)


def _perturbed(part: slice, rows: Tensor, out: Tensor, exponential_: Source) -> Tensor:
    """Logits + Gumbel noise in `out`; returns the largest of each row."""
    noise = log_(exponential_(out.view(-1), part.start * rows.shape[-1]))
    torch.sub(rows, noise.view_as(out), out=out)
    return out.amax(-1, keepdim=True)


def _choose(perturbed: Tensor, best: Tensor, out: Tensor) -> None:
    """One-hot vectors of the largest perturbed logits, not of the largest probabilities, which can be equal at a high tau."""
    torch.eq(perturbed, best, out=out)
    if host_number(out.sum()) != len(out):  # a tie, or a row without a distribution
        index = perturbed.argmax(-1, keepdim=True)
        out.zero_().scatter_(-1, index, best - best + 1)


class _ValueOf(torch.autograd.Function):
    """`straight_through` without a copy, for a value that nobody else holds."""

    @staticmethod
    def forward(ctx: Any, gradient_path: Tensor, value: Tensor) -> Tensor:
        ctx.mark_dirty(value)
        return value

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return grad_outputs[0], None


def _in_blocks(logits: Tensor, tau: float, hard: bool, generator: torch.Generator | None) -> Tensor:
    exponential_ = exponential_source(logits.shape, logits.device, generator)
    if hard and not (torch.is_grad_enabled() and logits.requires_grad):
        sample, zeros = fill_blocks(logits, partial(_discrete, exponential_=exponential_))
    else:
        chosen = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device) if hard else None
        rows = chosen.view(-1, logits.shape[-1]) if chosen is not None else None
        fill = partial(_relaxed, tau=tau, chosen=rows, exponential_=exponential_)
        sample, zeros = softmax_in_blocks(logits, tau, fill)
        sample = sample if chosen is None else _ValueOf.apply(sample, chosen)
    check_rows(zeros.unsqueeze(-1), logits, -1)
    return sample


def gumbel_softmax(
    logits: Tensor,
    tau: float | Tensor = 1.0,
    hard: bool = False,
    eps: float = 1e-10,  # noqa: ARG001
    dim: int = -1,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Samples the Gumbel-softmax distribution: a replacement for torch's, exact in half precision too.

    The arguments are those of torch's function, in its order.

    Noise, softmax and argmax are float32 for every input dtype (fp16 noise of torch's function gives NaN rows, bf16 noise
    draws events of p = 1e-3 at a quarter of their rate), the tail of the noise is exact, and the hard sample is exactly
    0 and 1. On the CPU it is several times faster (benchmarks/gumbel_softmax.py).

    Args:
        logits: unnormalised log-probabilities, any shape and floating dtype; -inf masks a category.
        tau: temperature > 0, a number, a 0-dim tensor, or a tensor of one temperature a row: it broadcasts against `logits`,
            and has size 1 in `dim`. A learnable one gets its gradient.
        hard: one-hot sample forward, gradient of the relaxed sample backward (straight-through Gumbel-softmax).
        eps: has no effect, as in torch, and is there so that calls of torch's function work.
        dim: dimension of the categories.
        generator: source of randomness.

    Returns:
        Samples of the shape and dtype of `logits`, summing to 1 along `dim` (one-hot if `hard`).

    Raises:
        ValueError: if tau is not positive or of another shape, or a row of `logits` has no distribution.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> sample = gumbel_softmax(torch.zeros(4, 3), tau=0.5, hard=True)
        >>> sample.sum(-1)
        tensor([1., 1., 1., 1.])
    """
    check_categories(logits, dim)
    check_tau(tau, logits=logits, dim=dim)
    if runs_in_blocks(logits, tau, dim):
        return _in_blocks(logits, host_number(tau), hard, generator)
    perturbed = perturb(logits, generator)
    winner = perturbed.detach().max(dim).indices if hard else None
    soft = softmax(perturbed, tau, dim).to(logits.dtype)
    return soft if winner is None else straight_through_one_hot(winner, soft, soft.select(dim, 0), dim)
