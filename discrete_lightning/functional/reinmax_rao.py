"""ReinMax-Rao (Wang & Bui 2026, https://arxiv.org/abs/2603.08257, eq. 17): ReinMax with a Rao-Blackwellised first term.

    forward   D ~ Categorical(p),  p = softmax(logits)
    backward  2/K sum_k J(softmax(z_k / tau)) g / tau - J(p) g / 2,   J(q) g = q * (g - q.g),
              z_k = log m + Gumbel noise given that its argmax is D,   m = (p + D) / 2

ReinMax takes J(m) g, the Jacobian of a softmax, where this takes the Gumbel-Rao estimate of a relaxed sample of the same
distribution m. That has less variance, and a bias for linear functions already. The formula is taken from a public
implementation that cites eq. 17, not from the paper's text. It has the second term at m; here it is at p, as in ReinMax.
"""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_tau, is_traced
from discrete_lightning.functional._keyed import in_place_of
from discrete_lightning.functional._torch_private import softmax_backward
from discrete_lightning.functional.gumbel_rao import (
    Seed,
    averaged_jacobian,
    averaged_softmax,
    conditional_noise,
    drawn_here,
    seed_of,
)
from discrete_lightning.functional.softmax import softmax
from discrete_lightning.functional.softmax_draw import softmax_draw
from discrete_lightning.functional.straight_through import one_hot_or_nan, straight_through_one_hot


class _ReinMaxRao(torch.autograd.Function):
    """Draws the conditional noise in the backward pass, from a seed."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, tau: Tensor, p: Tensor, index: Tensor, samples: int, seed: Seed) -> Tensor:
        ctx.save_for_backward(tau, p, index)
        ctx.samples, ctx.seed = samples, seed
        return one_hot_or_nan(logits, index, p[..., 0])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        tau, p, index = ctx.saved_tensors
        g = grad_outputs[0].to(p.dtype)
        gradient, _ = averaged_jacobian(g, midpoint(p, index), index, tau, ctx.samples, ctx.seed)
        gradient = 2 * gradient - 0.5 * softmax_backward(g, p)
        return gradient.to(grad_outputs[0].dtype), None, None, None, None, None


def midpoint(p: Tensor, index: Tensor) -> Tensor:
    """(p + D) / 2, for the one-hot vectors D of `index` (...)."""
    half = 0.5 * p
    chosen = index.unsqueeze(-1)
    return half.scatter(-1, chosen, half.gather(-1, chosen) + 0.5)


def reinmax_rao(
    logits: Tensor, tau: float | Tensor = 1.0, *, samples: int = 10, generator: torch.Generator | None = None
) -> Tensor:
    """One-hot draws from Categorical(softmax(logits)) with the gradient of ReinMax-Rao.

    Args:
        logits: shape (..., K), any floating dtype; -inf masks a category.
        tau: temperature of the relaxation in the backward pass, > 0; may be one a row, see `gumbel_softmax`. It gets no
            gradient: the sample does not depend on it.
        samples: of the noise that the gradient is averaged over, >= 1. Memory does not grow with it.
        generator: source of randomness.

    Returns:
        One-hot samples of the shape and dtype of `logits`.

    Raises:
        ValueError: if tau is not positive, samples < 1, or a row of `logits` has no distribution.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> reinmax_rao(torch.zeros(4, 3), 0.5).sum(-1)
        tensor([1., 1., 1., 1.])
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    check_tau(tau, logits=logits)
    generator = in_place_of(generator)
    with torch.no_grad():
        p, index = softmax_draw(logits, generator=generator)
        temperature = torch.as_tensor(tau, dtype=p.dtype, device=p.device).detach()
    if is_traced():
        noise = conditional_noise(p.reshape(-1, p.shape[-1]), samples, generator)
        soft = averaged_softmax(logits, midpoint(p, index), index, temperature, noise)
        path = 2 * soft - 0.5 * softmax(logits)
        return straight_through_one_hot(index, path.to(logits.dtype), p[..., 0] + drawn_here(noise, index))
    return _ReinMaxRao.apply(logits, temperature, p, index, samples, seed_of(generator, index, samples, p.shape[-1]))
