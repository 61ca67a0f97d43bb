"""Gumbel-Rao for k of K: the gradient of relaxed Gumbel top-k, averaged over the noise that leads to the same draw.

    forward   S ~ Plackett-Luce(logits), k-hot, drawn in the order b_1, ..., b_k (see gumbel_top_k)
    backward  mean over `samples` of the gradient of relaxed top-k at z / tau (see relaxed_top_k), z = logits + Gumbel noise
              given that its k largest are b_1, ..., b_k in that order. With W_j the mass of softmax(logits) that is left at
              draw j and E ~ Exp(1):
              z_{b_j} = -log(E_1 / W_1 + ... + E_j / W_j),   z_i = -log(E_1 / W_1 + ... + E_k / W_k + E_i / p_i) for the others

The same mean as straight-through relaxed top-k, with less variance. z is a constant in the backward pass. With k = 1 it is
Gumbel-Rao (Paulus et al. 2020, https://arxiv.org/abs/2010.04838).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_floating, check_tau, host_number, is_traced
from discrete_lightning.functional._keyed import KeyedGenerator, in_place_of
from discrete_lightning.functional._plackett_luce import left
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._random import draw_seed
from discrete_lightning.functional.gumbel import exponential_noise, keyed_source, perturb
from discrete_lightning.functional.gumbel_top_k import all_chosen, check_k, k_hot_or_nan, largest
from discrete_lightning.functional.relaxed_top_k import successive_softmax
from discrete_lightning.functional.straight_through import straight_through

Source = Callable[[Tensor], Callable[[int], Tensor]]


def conditional_gumbel_top_k(log_p: Tensor, order: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Perturbed logits given that their k largest are `order`: one sample of log p + G.

    Args:
        log_p: log-probabilities (..., K), float32 or float64.
        order: int64 (..., k), k < K, the largest first.
        generator: source of randomness.

    Returns:
        Shape of `log_p`; -inf where log p is -inf.

    Example:
        >>> z = conditional_gumbel_top_k(torch.full((4,), 0.25).log(), torch.tensor([2, 0]))
        >>> z.topk(2).indices
        tensor([2, 0])
    """
    check_floating(log_p, "log_p")
    return _condition(exponential_noise(log_p.shape, device=log_p.device, generator=generator), log_p, order)


def _condition(noise: Tensor, log_p: Tensor, order: Tensor) -> Tensor:
    """`conditional_gumbel_top_k` made of Exp(1) noise of the shape of log_p."""
    noise = noise.to(log_p.dtype)
    gaps = noise.gather(-1, order).log() - left(log_p, order).log_mass[..., :-1]
    arrivals = gaps.logcumsumexp(-1)  # log of the times at which the chosen arrive in the race
    others = torch.logaddexp(arrivals[..., -1:], noise.log() - log_p)
    return -others.scatter(-1, order, arrivals)


class _GumbelRaoSubset(torch.autograd.Function):
    """Draws the conditional noise in the backward pass, one sample at a time, from a seed."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, tau: Tensor, subset: Tensor, order: Tensor, samples: int, source: Source
    ) -> Tensor:
        ctx.save_for_backward(logits, tau, order)
        ctx.samples, ctx.source = samples, source
        return subset.clone()  # an input that is returned itself could not be changed in place

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        logits, tau, order = ctx.saved_tensors
        log_p = torch.log_softmax(float32(logits), -1)
        g = grad_outputs[0].to(log_p.dtype)
        noise_of = ctx.source(log_p)
        gradient, tau_gradient = torch.zeros_like(log_p), torch.zeros_like(tau)
        learned = ctx.needs_input_grad[1]
        for number in range(ctx.samples):
            z = _condition(noise_of(number), log_p, order).requires_grad_()
            temperature = tau.detach().requires_grad_(learned)
            with torch.enable_grad():
                soft = successive_softmax(z, order.shape[-1], temperature)
            found = torch.autograd.grad(soft, (z, temperature) if learned else (z,), g)
            gradient += found[0] / ctx.samples
            if learned:
                tau_gradient += found[1] / ctx.samples
        wanted = tau_gradient if learned else None
        return gradient.to(grad_outputs[0].dtype), wanted, None, None, None, None


def gumbel_rao_subset(
    logits: Tensor,
    k: int,
    tau: float | Tensor = 1.0,
    *,
    samples: int = 10,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Exact draws of k of K categories without replacement, with the Gumbel-Rao gradient of relaxed top-k.

    Args:
        logits: shape (..., K), any floating dtype; -inf masks a category.
        k: number of categories chosen, 1 <= k <= K. With k = K all are ones, with a gradient of zero.
        tau: temperature > 0; a tensor, 0-dim or one a row (see `gumbel_softmax`), may be learnable.
        samples: of the noise that the gradient is averaged over, >= 1. Memory does not grow with it.
        generator: source of randomness.

    Returns:
        k-hot vectors of the shape and dtype of `logits`.

    Raises:
        ValueError: if k is out of range, tau is not positive, samples < 1, or a row has NaN, +inf or fewer than k categories
            that are not masked.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> gumbel_rao_subset(torch.zeros(2, 5), k=3, tau=0.5).sum(-1)
        tensor([3., 3.])
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    check_k(logits, k)
    check_tau(tau, logits=logits)
    if k == logits.shape[-1]:
        return all_chosen(logits)
    generator = in_place_of(generator)
    with torch.no_grad():
        order, valid = largest(perturb(logits, generator), logits, k)
        subset = k_hot_or_nan(logits, order, valid)
    if is_traced():  # a generator cannot be seeded inside a trace: the same estimator, with all noise held at once
        log_p = torch.log_softmax(float32(logits), -1)
        with torch.no_grad():
            many = log_p.expand(samples, *log_p.shape)
            z = _condition(_noise(log_p, samples, generator), many, order.expand(samples, *order.shape))
            shift = torch.where(many.isneginf(), 0.0, z - many)
        soft = successive_softmax(log_p + shift, k, tau).mean(0)
        return straight_through(subset, soft.to(logits.dtype))
    temperature = torch.as_tensor(tau, dtype=float32(logits).dtype, device=logits.device)
    return _GumbelRaoSubset.apply(logits, temperature, subset, order, samples, _source(logits, samples, generator))


def _noise(log_p: Tensor, samples: int, generator: torch.Generator | None) -> Tensor:
    """Exp(1) noise of all samples, (S, ..., K)."""
    if not isinstance(generator, KeyedGenerator):
        return exponential_noise((samples, *log_p.shape), device=log_p.device, generator=generator)
    noise = [exponential_noise(log_p.shape, device=log_p.device, generator=generator) for _ in range(samples)]
    return torch.stack(noise)


def _source(logits: Tensor, samples: int, generator: torch.Generator | None) -> Source:
    """Makes, of log-probabilities, a function from the number of a sample to its Exp(1) noise."""
    generator = in_place_of(generator)
    if isinstance(generator, KeyedGenerator):
        draws = [keyed_source(generator.words(logits.shape, 1, logits.device)) for _ in range(samples)]

        def of_words(log_p: Tensor) -> Callable[[int], Tensor]:
            count = log_p.numel()
            return lambda number: draws[number](log_p.new_empty(count, dtype=torch.float32), 0).view(log_p.shape)

        return of_words
    seed = int(host_number(draw_seed(generator)))

    def of_seed(log_p: Tensor) -> Callable[[int], Tensor]:
        seeded = torch.Generator(device=log_p.device).manual_seed(seed)
        return lambda _: exponential_noise(log_p.shape, device=log_p.device, generator=seeded)

    return of_seed
