"""Gumbel look-up in a large codebook: vectors to logits, a Gumbel-softmax sample and the codes it picks, in bounded memory.

    logits = x W^T + b,   z = logits + G,   y = softmax(z / tau),   quantized = D @ codes,   D = one-hot argmax(z), or y

The formulas are those of Jang et al. 2016 (https://arxiv.org/abs/1611.01144). Logits, noise and samples (N, K) exist for
one block of vectors at a time; the backward pass makes them again, with the same noise, from a seed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_finite, check_tau, host_number
from discrete_lightning.functional._keyed import in_place_of, words_of
from discrete_lightning.functional._keyed_words import KeyedWords
from discrete_lightning.functional._logarithms import log_
from discrete_lightning.functional._precision import addmm_float32, float32, float32_matmul, without_autocast
from discrete_lightning.functional._random import draw_seed
from discrete_lightning.functional._temperature import LARGEST
from discrete_lightning.functional._threads import in_threads
from discrete_lightning.functional._torch_private import softmax_backward
from discrete_lightning.functional.gumbel import drawn_noise, keyed_source

_ELEMENTS = 1 << 19  # logits held at a time: 2 MiB of float32 a tensor on the CPU
_KEYED = 1 << 18  # of keyed noise that a thread makes at a time
_ACCELERATOR_ELEMENTS = 1 << 26  # an accelerator needs larger blocks to be fast; 256 MiB


class GumbelLookup(NamedTuple):
    """What `gumbel_lookup` returns.

    Attributes:
        quantized: (..., C), float32.
        indices: int64 (...), exact draws from Categorical(softmax(logits)).
        marginal: (K,), sum over vectors of softmax(logits), with its gradient; zeros unless `statistics`.
        choice_entropy: 0-dim, sum over vectors of the entropy of softmax(logits); 0 unless `statistics`.
        logits: (..., K), float32, with its gradient; None unless `keep`.
    """

    quantized: Tensor
    indices: Tensor
    marginal: Tensor
    choice_entropy: Tensor
    logits: Tensor | None = None


# One operation to torch.compile: a graph of all blocks would take minutes to compile, and its noise is not to be fused away
@torch.library.custom_op("discrete_lightning::gumbel_lookup", mutates_args=())
@float32_matmul
def _lookup(
    x: Tensor, weight: Tensor, bias: Tensor, codes: Tensor, tau: Tensor, seed: Tensor, hard: bool, statistics: bool,
    tempered: bool, held: bool, keep: bool,  # noqa: ARG001  `held` is for the backward pass
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """The last two are the logits and the relaxed sample, if they are kept."""
    quantized = x.new_empty(len(x), codes.shape[1])
    indices = torch.empty(len(x), dtype=torch.int64, device=x.device)
    marginal, entropy = x.new_zeros(len(codes)), x.new_zeros(())
    logits, relaxed = (x.new_empty(len(x) if keep else 0, len(codes)) for _ in range(2))
    noise = _noise(seed, x, weight)
    for part in _parts(x, weight):
        z = torch.addmm(bias, x[part], weight.t())
        if keep:
            logits[part] = z
        if statistics:
            log_p = torch.log_softmax(_over(z, _of(tau, part)) if tempered else z, -1)
            p = log_p.exp()
            marginal += p.sum(0)
            entropy -= (p * log_p.clamp_min(-1e30)).sum()
        z.add_(noise(z, part.start))
        largest = z.max(-1, keepdim=True)  # faster than argmax
        indices[part] = largest.indices.squeeze(-1)
        if hard:
            quantized[part] = codes[indices[part]]
        if keep or not hard:
            y = torch.softmax(z.sub_(largest.values).div_(_of(tau, part)), -1)
            if keep:
                relaxed[part] = y
            if not hard:
                quantized[part] = y @ codes
    return quantized, indices, marginal, entropy, logits, relaxed


@_lookup.register_fake
def _(*inputs: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    x, codes, keep = inputs[0], inputs[3], inputs[10]
    indices = x.new_empty(len(x), dtype=torch.int64)
    kept = [x.new_empty(len(x) if keep else 0, len(codes)) for _ in range(2)]
    return x.new_empty(len(x), codes.shape[1]), indices, x.new_empty(len(codes)), x.new_empty(()), kept[0], kept[1]


@torch.library.custom_op("discrete_lightning::gumbel_lookup_backward", mutates_args=())
@float32_matmul
def _lookup_backward(
    g: Tensor | None, g_marginal: Tensor | None, g_entropy: Tensor | None, g_logits: Tensor | None,
    x: Tensor, weight: Tensor, bias: Tensor, codes: Tensor, tau: Tensor, seed: Tensor, indices: Tensor, logits: Tensor,
    relaxed: Tensor, hard: bool, statistics: bool, tempered: bool, held: bool, keep: bool, learned: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    d_x, d_weight, d_bias = torch.empty_like(x), torch.zeros_like(weight), torch.zeros_like(bias)
    d_codes, d_tau = torch.zeros_like(codes), torch.zeros_like(tau)
    g = x.new_zeros(len(x), codes.shape[1]) if g is None else g
    g_marginal = bias.new_zeros(len(codes)) if g_marginal is None else g_marginal
    g_entropy = bias.new_zeros(()) if g_entropy is None else g_entropy
    if hard:
        d_codes.index_add_(0, indices, g)
    noise = _noise(seed, x, weight)
    for part in _parts(x, weight):
        z = logits[part] if keep else torch.addmm(bias, x[part], weight.t())
        tau_here, d_tau_here = _of(tau, part), _of(d_tau, part)
        extra = None
        if statistics and tempered:
            over = _over(z, tau_here)
            extra = _entropy_gradient(over, g_marginal, g_entropy).div_(tau_here)
            d_tau_here -= (extra * over.clamp_min(-LARGEST)).sum_to_size(tau_here.shape)
            if held:
                extra = _entropy_gradient(over, g_marginal, torch.zeros_like(g_entropy)).div_(tau_here)
        elif statistics:
            extra = _entropy_gradient(z, g_marginal, g_entropy * (not held))
        if keep:
            y = relaxed[part]
        else:
            z = _over(z.add_(noise(z, part.start)), tau_here)
            y = torch.softmax(z, -1)
        if not hard:
            d_codes.addmm_(y.t(), g[part])
        d_logits = softmax_backward(g[part] @ codes.t(), y).div_(tau_here)
        if learned:  # z / tau up to a constant; where y is 0 the gradient is, too
            z = y.log() if keep else z
            d_tau_here -= (d_logits * z.clamp_min(-LARGEST)).sum_to_size(tau_here.shape)
        if extra is not None:
            d_logits += extra
        if g_logits is not None:
            d_logits += g_logits[part]
        torch.mm(d_logits, weight, out=d_x[part])
        d_weight.addmm_(d_logits.t(), x[part])
        d_bias += d_logits.sum(0)
    return d_x, d_weight, d_bias, d_codes, d_tau


@_lookup_backward.register_fake
def _(*inputs: Any) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(each) for each in inputs[4:9])


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, hard, statistics, tempered, held, keep = inputs
    ctx.set_materialize_grads(False)  # zeros for logits that no loss uses would take as much memory as they
    ctx.save_for_backward(*tensors, output[1], output[4], output[5])
    ctx.flags = hard, statistics, tempered, held, keep


def _gradients(ctx: Any, g: Any, _: Any, g_marginal: Any, g_entropy: Any, g_logits: Any, __: Any) -> tuple[Any, ...]:
    learned = ctx.needs_input_grad[4]
    *found, d_tau = _lookup_backward(g, g_marginal, g_entropy, g_logits, *ctx.saved_tensors, *ctx.flags, learned)
    return *found, d_tau if learned else None, None, None, None, None, None, None


_lookup.register_autograd(_gradients, setup_context=_save)


def _noise(seed: Tensor, x: Tensor, weight: Tensor) -> Callable[[Tensor, int], Tensor]:
    """Gumbel noise of a block of logits like z, whose first row has the given number. `seed`: 0-dim, or the keys of words."""
    if seed.ndim:
        fill_ = keyed_source(KeyedWords(seed, len(x) * len(weight) // max(1, seed.shape[1])))

        def keyed(z: Tensor, start: int) -> Tensor:
            noise = z.new_empty(z.shape, dtype=torch.float32)
            step = _KEYED if z.device.type == "cpu" else max(1, noise.numel())
            flat, first = noise.view(-1), start * len(weight)

            def part(begin: int) -> None:
                log_(fill_(flat[begin : begin + step], first + begin)).neg_()

            in_threads(range(0, len(flat), step), part)
            return noise

        return keyed
    generator = torch.Generator(device=x.device).manual_seed(int(host_number(seed)))  # on the host: nothing to wait for
    return lambda z, _: drawn_noise(z.shape, z.device, generator, log=True)


def _seed(generator: torch.Generator | None, x: Tensor, weight: Tensor) -> Tensor:
    """The seed of `_noise`; of keyed noise, whose rows may not be there several times, the keys."""
    generator = in_place_of(generator)
    words = words_of(generator, (len(x), len(weight)), 1, x.device)
    return draw_seed(generator) if words is None else words.keys


def _of(tau: Tensor, part: slice) -> Tensor:
    """The temperature of these vectors: that of all, or one of each (N, 1)."""
    return tau[part] if tau.ndim else tau


def _over(z: Tensor, tau: Tensor) -> Tensor:
    """Z / tau up to a constant, so that no temperature overflows."""
    return (z - z.amax(-1, keepdim=True)).div_(tau)


def _entropy_gradient(logits: Tensor, g_marginal: Tensor, g_entropy: Tensor) -> Tensor:
    """Of sum(marginal * g_marginal) + entropy * g_entropy: J(p) (g_marginal - g_entropy log p)."""
    log_p = torch.log_softmax(logits, -1)
    return softmax_backward(g_marginal - g_entropy * log_p.clamp_min(-1e30), log_p.exp())


def _parts(x: Tensor, weight: Tensor) -> list[slice]:
    held = _ELEMENTS if x.device.type == "cpu" else _ACCELERATOR_ELEMENTS
    step = max(1, held // len(weight))
    return [slice(start, start + step) for start in range(0, len(x), step)]


@without_autocast
@float32_matmul
def gumbel_lookup(
    vectors: Tensor,
    weight: Tensor,
    bias: Tensor,
    codes: Tensor,
    tau: float | Tensor = 1.0,
    *,
    hard: bool = True,
    statistics: bool = False,
    tempered: bool = False,
    held: bool = False,
    keep: bool = False,
    generator: torch.Generator | None = None,
) -> GumbelLookup:
    """Codes drawn by Gumbel-softmax from the logits `vectors @ weight.T + bias`, which are never held whole, unless `keep`.

    Equal to `gumbel_softmax(logits, tau, hard=hard) @ codes` and its gradients, in float32. Memory grows with N (D + C) and
    K (D + C), not with N K.

    Args:
        vectors: x (..., D), any floating dtype.
        weight: W (K, D).
        bias: b (K,).
        codes: (K, C).
        tau: temperature > 0, a number, a 0-dim tensor, or a tensor of one temperature a vector: it broadcasts against
            vectors[..., :1]. A learnable one gets its gradient.
        hard: exact codes forward with the gradient of the relaxed sample (straight-through), or mixtures.
        statistics: whether to compute `marginal` and `choice_entropy`.
        tempered: whether these are of softmax(logits / tau), so that a learned tau gets their gradient, or of softmax(logits).
        held: whether `choice_entropy` has no gradient to the logits, only to tau if `tempered`.
        keep: returns the logits, and keeps the relaxed samples: faster, in 2 N K numbers of memory.
        generator: source of randomness.

    Raises:
        ValueError: if tau is not positive, the shapes do not fit, or vectors are not finite (their number is named).

    Example:
        >>> _ = torch.manual_seed(0)
        >>> result = gumbel_lookup(torch.randn(5, 4), torch.randn(16, 4), torch.zeros(16), torch.randn(16, 3), 0.5)
        >>> result.quantized.shape, result.indices.shape
        (torch.Size([5, 3]), torch.Size([5]))
    """
    if not len(weight) == len(bias) == len(codes) or vectors.shape[-1:] != weight.shape[1:]:
        raise ValueError(
            f"vectors (..., D), weight (K, D), bias (K,) and codes (K, C) do not fit: got {tuple(vectors.shape)}, "
            f"{tuple(weight.shape)}, {tuple(bias.shape)}, {tuple(codes.shape)}"
        )
    check_tau(tau, logits=vectors)
    check_finite(vectors, "gumbel_lookup")
    x = float32(vectors).reshape(-1, vectors.shape[-1])
    weight, bias, codes = (each.to(x.dtype) for each in (weight, bias, codes))
    temperature = torch.as_tensor(tau, dtype=x.dtype, device=x.device)
    if temperature.ndim:
        temperature = temperature.expand(*vectors.shape[:-1], 1).reshape(-1, 1)
    quantized, indices, marginal, entropy, logits, _ = _lookup(
        x, weight, bias, codes, temperature, _seed(generator, x, weight), hard, statistics, tempered, held, keep
    )
    shape = vectors.shape[:-1]
    returned = logits.view(*shape, len(codes)) if keep else None
    return GumbelLookup(quantized.view(*shape, codes.shape[1]), indices.view(shape), marginal, entropy, returned)


@without_autocast
@float32_matmul
@torch.no_grad()
def largest_logit(vectors: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """argmax_k of `vectors @ weight.T + bias`, int64 (...), in float32 and block by block.

    Example:
        >>> largest_logit(torch.tensor([[1.0], [-1.0]]), torch.tensor([[-2.0], [2.0]]), torch.zeros(2))
        tensor([1, 0])
    """
    x = float32(vectors).reshape(-1, vectors.shape[-1])
    weight, bias = weight.to(x.dtype), bias.to(x.dtype)
    if torch.compiler.is_compiling():  # one product: exported graphs keep a dynamic number of vectors
        return addmm_float32(bias, x, weight.t()).argmax(-1).view(vectors.shape[:-1])
    blocks = [addmm_float32(bias, x[part], weight.t()).argmax(-1) for part in _parts(x, weight)]
    return (torch.cat(blocks) if blocks else x.new_zeros(0, dtype=torch.int64)).view(vectors.shape[:-1])
