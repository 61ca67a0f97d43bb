"""Gumbel-Rao (Paulus et al. 2020, https://arxiv.org/abs/2010.04838): straight-through Gumbel, averaged over the noise
that leads to the same choice.

    forward   D ~ Categorical(p),  p = softmax(logits)
    backward  1/K sum_k J(softmax(z_k / tau)) g / tau,   z_k = logits + Gumbel noise given that its argmax is D:
              z_i = -log E_i for the chosen i,   z_j = -log(E_j / p_j + E_i) for the others,   E ~ Exp(1)

The same mean as straight-through Gumbel, with less variance. z is a constant in the backward pass.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_floating, check_tau, host_number, is_traced
from discrete_lightning.functional._keyed import KeyedGenerator, in_place_of, words_of
from discrete_lightning.functional._keyed_words import KeyedWords
from discrete_lightning.functional._logarithms import log_
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._random import draw_seed
from discrete_lightning.functional._temperature import LARGEST, over_tau
from discrete_lightning.functional._threads import in_threads
from discrete_lightning.functional._torch_private import softmax_backward
from discrete_lightning.functional.gumbel import exponential_noise, keyed_source, seeded_source
from discrete_lightning.functional.softmax import softmax
from discrete_lightning.functional.softmax_draw import softmax_draw
from discrete_lightning.functional.straight_through import one_hot_or_nan, straight_through_one_hot


def conditional_gumbel(
    p: Tensor, index: Tensor, *, samples: int = 1, generator: torch.Generator | None = None
) -> Tensor:
    """Perturbed logits given that category `index` is the largest: samples of log p + G | argmax = index.

    Args:
        p: probabilities (N, K), float32.
        index: int64 (N,).
        samples: S.
        generator: source of randomness.

    Returns:
        float32 (S, N, K), the largest entry of each row at `index`; -inf where p is 0.

    Example:
        >>> z = conditional_gumbel(torch.full((5, 3), 1 / 3), torch.full((5,), 2))
        >>> z.argmax(-1)
        tensor([[2, 2, 2, 2, 2]])
    """
    check_floating(p, "p")
    noise = conditional_noise(p, samples, generator)
    return _condition(noise, p, index) if is_traced() else _condition_(noise, p, index)


def conditional_noise(p: Tensor, samples: int, generator: torch.Generator | None) -> Tensor:
    """The Exp(1) noise (S, N, K) of which `conditional_gumbel` is made."""
    generator = in_place_of(generator)
    if isinstance(generator, KeyedGenerator):  # rows come first
        shape = (p.shape[0], samples, p.shape[1])
        return exponential_noise(shape, device=p.device, generator=generator).transpose(0, 1).to(p.dtype)
    return exponential_noise((samples, *p.shape), device=p.device, generator=generator).to(p.dtype)


def drawn_here(noise: Tensor, index: Tensor) -> Tensor:
    """Zeros of the shape of `index` that depend on `noise` (S, N, K).

    Added to what the forward pass returns, they keep a compiler from moving the draw to the backward pass, behind the next one.
    """
    return (noise[0, :, 0] * 0).view(index.shape)


def _condition(noise: Tensor, p: Tensor, index: Tensor) -> Tensor:
    """`conditional_gumbel` made of Exp(1) noise (S, N, K)."""
    chosen = index.view(1, -1, 1).expand(len(noise), -1, 1)
    first = noise.gather(-1, chosen)
    return -(noise / p + first).scatter(-1, chosen, first).log()


def _condition_(noise: Tensor, p: Tensor, index: Tensor) -> Tensor:
    """`_condition` in place."""
    chosen = index.view(1, -1, 1).expand(len(noise), -1, 1)
    first = noise.gather(-1, chosen)
    return log_(noise.div_(p).add_(first).scatter_(-1, chosen, first)).neg_()


_BLOCK = 1 << 18  # noise that a thread holds at a time in the backward pass: memory does not grow with samples


Seed = int | KeyedWords


class _GumbelRao(torch.autograd.Function):
    """Draws the conditional noise in the backward pass only, block of rows by block of rows, from a seed."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, tau: Tensor, p: Tensor, index: Tensor, samples: int, seed: Seed) -> Tensor:
        ctx.save_for_backward(tau, p, index)
        ctx.samples, ctx.seed, ctx.dtype = samples, seed, logits.dtype
        return one_hot_or_nan(logits, index, p[..., 0])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        tau, p, index = ctx.saved_tensors
        learned = ctx.needs_input_grad[1]
        gradient, wanted = averaged_jacobian(grad_outputs[0].to(p.dtype), p, index, tau, ctx.samples, ctx.seed, learned)
        return gradient.to(ctx.dtype), wanted, None, None, None, None


def averaged_jacobian(
    g: Tensor, p: Tensor, index: Tensor, tau: Tensor, samples: int, seed: Seed, learned: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Mean over conditional noises z of J(softmax(z / tau)) g / tau, (..., K), and if `learned` the gradient to tau.

    Args:
        g: gradient to the sample (..., K), in the dtype of p.
        p: probabilities (..., K).
        index: what was drawn, (...).
        tau: 0-dim, or one a row: it broadcasts against p[..., :1].
        samples: of the noise.
        seed: of the noise, as `seed_of` gives it.
        learned: whether the gradient to tau is wanted.
    """
    categories = p.shape[-1]
    g = g.reshape(-1, categories)
    probabilities, indices = p.reshape(-1, categories), index.reshape(-1)
    temperatures = tau.expand(*index.shape, 1).reshape(-1, 1) if tau.ndim else tau
    gradient, slopes = torch.empty_like(probabilities), probabilities.new_zeros(len(g))
    rows = max(1, _BLOCK // max(1, samples * categories))
    exponential = _exponential(seed, p.device)

    def work(start: int) -> None:
        part = slice(start, start + rows)
        noise = exponential((samples, *probabilities[part].shape), start * samples * categories).to(p.dtype)
        z = _condition_(noise, probabilities[part], indices[part])
        temperature = temperatures[part] if tau.ndim else temperatures
        best = z.gather(-1, indices[part].view(1, -1, 1).expand(samples, -1, 1))
        scaled = over_tau(z, temperature.detach(), best=best)
        y = torch.softmax(scaled, -1)
        slope = softmax_backward(g[part].expand_as(y), y)
        torch.sum(slope, 0, out=gradient[part]).div_(samples * temperature)
        if learned:
            torch.sum(slope.mul_(scaled.clamp_min(-LARGEST)), (0, 2), out=slopes[part])

    starts = range(0, len(g), rows)
    if p.device.type == "cpu":
        in_threads(starts, work)
    else:
        for start in starts:
            work(start)
    wanted = None
    if learned and tau.ndim:
        wanted = (slopes.view(*index.shape, 1) / -(samples * tau)).sum_to_size(tau.shape)
    elif learned:
        wanted = slopes.sum() / -(samples * tau)
    return gradient.view_as(p), wanted


def seed_of(generator: torch.Generator | None, index: Tensor, samples: int, categories: int) -> Seed:
    """The seed of the conditional noise of draws `index`, taken from `generator` now and used in the backward pass."""
    words = words_of(generator, (index.numel(), samples, categories), 2, index.device)
    return int(host_number(draw_seed(generator))) if words is None else words


def _exponential(seed: Seed, device: torch.device) -> Callable[[Sequence[int], int], Tensor]:
    """Exp(1) noise of a block of shape (S, rows, K), whose first element has the given position among those of all blocks.

    An accelerator draws it from a generator instead, so that blocks must follow each other.
    """
    if isinstance(seed, KeyedWords):
        keyed = keyed_source(seed)

        def block(shape: Sequence[int], start: int) -> Tensor:
            samples, rows, categories = shape
            flat = keyed(torch.empty(math.prod(shape), device=device), start)
            return flat.view(rows, samples, categories).transpose(0, 1)

        return block
    if device.type == "cpu":
        fill = seeded_source(seed)
        return lambda shape, start: fill(torch.empty(math.prod(shape), device=device), start).view(*shape)
    generator = torch.Generator(device=device).manual_seed(seed)
    return lambda shape, _: exponential_noise(shape, device=device, generator=generator)


def averaged_softmax(logits: Tensor, p: Tensor, index: Tensor, tau: float | Tensor, noise: Tensor) -> Tensor:
    """A tensor (..., K) whose gradient to `logits` is `averaged_jacobian`, by operations that can be traced.

    `noise` is that of `conditional_noise` for p with its rows in one dimension.
    """
    log_p = torch.log_softmax(float32(logits), -1)
    with torch.no_grad():
        flat, chosen = p.reshape(-1, p.shape[-1]), index.reshape(-1)
        z = _condition(noise, flat, chosen).view(len(noise), *p.shape)
        shift = torch.where(p > 0, z - log_p, 0.0)
    return softmax(log_p + shift, tau).mean(0)


def gumbel_rao(
    logits: Tensor, tau: float | Tensor = 1.0, *, samples: int = 10, generator: torch.Generator | None = None
) -> Tensor:
    """One-hot draws from Categorical(softmax(logits)) with the Gumbel-Rao gradient.

    Args:
        logits: shape (..., K), any floating dtype; -inf masks a category.
        tau: temperature > 0, a number or a tensor, 0-dim or one a row (see `gumbel_softmax`), which may be learnable.
        samples: of the noise that the gradient is averaged over, >= 1. Memory does not grow with it.
        generator: source of randomness.

    Returns:
        One-hot samples of the shape and dtype of `logits`.

    Raises:
        ValueError: if tau is not positive, samples < 1, or a row of `logits` has no distribution.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> gumbel_rao(torch.zeros(4, 3), 0.5).sum(-1)
        tensor([1., 1., 1., 1.])
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    check_tau(tau, logits=logits)
    generator = in_place_of(generator)
    with torch.no_grad():
        p, index = softmax_draw(logits, generator=generator)
    if is_traced():  # a generator cannot be seeded inside a trace: the same estimator, all noise at once
        noise = conditional_noise(p.reshape(-1, p.shape[-1]), samples, generator)
        soft = averaged_softmax(logits, p, index, tau, noise)
        return straight_through_one_hot(index, soft.to(logits.dtype), p[..., 0])
    seed = seed_of(generator, index, samples, p.shape[-1])
    temperature = torch.as_tensor(tau, dtype=p.dtype, device=p.device)
    return _GumbelRao.apply(logits, temperature, p, index, samples, seed)
