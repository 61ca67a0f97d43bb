"""ReinMax-CV (Wang & Bui 2026, https://arxiv.org/abs/2603.08257, eq. 18): ReinMax with a relaxed sample as control variate.

    forward   D ~ Categorical(p),  p = softmax(logits)
    backward  ReinMax at tau + eta (1/K sum_k J(softmax(z_k / t)) g - J(softmax(z / t)) g) / t,   J(q) g = q * (g - q.g),
              z = log m + Gumbel noise,   z_k = z given that its argmax is D,   m = (p + D) / 2

The bracket is a Gumbel-Rao estimate of what a straight-through Gumbel estimate averages to. D is drawn from p and not from m,
and both take the slope g at D: so it is not exactly zero in the mean. The formula is taken from a public implementation that
cites eq. 18, not from the paper's text; here the first part is ReinMax, with its factor 2. Where we measured
(tests/functional/test_reinmax_rao.py) it does not lower the variance.
"""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_tau, is_traced
from discrete_lightning.functional._keyed import KeyedGenerator, in_place_of
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._torch_private import softmax_backward
from discrete_lightning.functional.gumbel import exponential_noise
from discrete_lightning.functional.gumbel_rao import (
    Seed,
    averaged_jacobian,
    averaged_softmax,
    conditional_noise,
    drawn_here,
    seed_of,
)
from discrete_lightning.functional.reinmax import reinmax_gradient, reinmax_of
from discrete_lightning.functional.reinmax_rao import midpoint
from discrete_lightning.functional.softmax import softmax
from discrete_lightning.functional.softmax_draw import softmax_draw
from discrete_lightning.functional.straight_through import one_hot_or_nan, straight_through


class _ReinMaxCV(torch.autograd.Function):
    """ReinMax's gradient and the control variate; its conditional noise is drawn in the backward pass, from a seed."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        p: Tensor,
        p_tau: Tensor,
        index: Tensor,
        relaxed: Tensor,
        settings: tuple[int, float, float],
        seed: Seed,
    ) -> Tensor:
        ctx.save_for_backward(p, p_tau, index, relaxed)
        ctx.settings, ctx.seed = settings, seed
        return one_hot_or_nan(logits, index, p[..., 0])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        p, p_tau, index, relaxed = ctx.saved_tensors
        samples, eta, relaxation_tau = ctx.settings
        g = grad_outputs[0].to(p.dtype)
        gradient = reinmax_gradient(g, p, p_tau, index.unsqueeze(-1))
        temperature = torch.as_tensor(relaxation_tau, dtype=p.dtype, device=p.device)
        average, _ = averaged_jacobian(g, midpoint(p, index), index, temperature, samples, ctx.seed)
        gradient = gradient + eta * (average - softmax_backward(g, relaxed) / relaxation_tau)
        return gradient.to(grad_outputs[0].dtype), None, None, None, None, None, None


def reinmax_cv(
    logits: Tensor,
    tau: float | Tensor = 1.0,
    *,
    samples: int = 10,
    eta: float = 1.0,
    relaxation_tau: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """One-hot draws from Categorical(softmax(logits)) with the gradient of ReinMax-CV.

    Args:
        logits: shape (..., K), any floating dtype; -inf masks a category.
        tau: temperature of ReinMax's backward pass, > 0; may be one a row, see `gumbel_softmax`. It gets no gradient: the
            sample does not depend on it.
        samples: K, of the conditional noise, >= 1. Memory does not grow with it.
        eta: weight of the control variate; 0 is ReinMax.
        relaxation_tau: t, of the control variate, > 0.
        generator: source of randomness.

    Returns:
        One-hot samples of the shape and dtype of `logits`.

    Raises:
        ValueError: if a temperature is not positive, samples < 1, or a row of `logits` has no distribution.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> reinmax_cv(torch.zeros(4, 3)).sum(-1)
        tensor([1., 1., 1., 1.])
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    check_tau(tau, logits=logits)
    check_tau(relaxation_tau, "relaxation_tau")
    generator = in_place_of(generator)
    with torch.no_grad():
        p, index = softmax_draw(logits, generator=generator)
        p_tau = softmax(logits, tau)
        middle = midpoint(p, index)
        if is_traced():
            single, noise = _noise(p, samples, generator)
        else:
            single = exponential_noise(p.shape, device=p.device, generator=generator).to(p.dtype)
        z = middle.log() - single.log()  # -inf where masked
        relaxed = softmax(z, relaxation_tau)
    if is_traced():
        log_p = torch.log_softmax(float32(logits), -1)
        one = softmax(log_p + torch.where(middle > 0, z - log_p.detach(), 0.0), relaxation_tau)
        average = averaged_softmax(logits, middle, index, relaxation_tau, noise)
        valid = p + drawn_here(noise, index).unsqueeze(-1)
        sample = reinmax_of(logits, valid, p_tau, index)
        return straight_through(sample, sample + (eta * (average - one)).to(logits.dtype))
    seed = seed_of(generator, index, samples, p.shape[-1])
    return _ReinMaxCV.apply(logits, p, p_tau, index, relaxed, (samples, eta, relaxation_tau), seed)


def _noise(p: Tensor, samples: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Of one relaxed sample, and of the conditional ones (samples, N, K)."""
    rows = p.reshape(-1, p.shape[-1])
    if isinstance(generator, KeyedGenerator):
        single = exponential_noise(p.shape, device=p.device, generator=generator).to(p.dtype)
        return single, conditional_noise(rows, samples, generator)
    # one draw: the backward pass needs both, and a compiler may change the order of two
    both = conditional_noise(rows, samples + 1, generator)
    return both[0].view(p.shape), both[1:]
