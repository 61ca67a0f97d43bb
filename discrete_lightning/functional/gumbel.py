"""Gumbel noise and the Gumbel-max trick (Gumbel 1954; Maddison et al. 2014, https://arxiv.org/abs/1411.0030).

    G = -log(E), E ~ Exp(1);    argmax_i(logits_i + G_i) ~ Categorical(softmax(logits))

The smallest E decide the argmax, so E is made from a uniform whose resolution near zero is 2^-31: events down to
p = 1e-8 are drawn at their true rate. `Tensor.uniform_` has 2^-24 (noise capped at 16.6) and is slower on the CPU than the 32
random bits used here (of one seed where there are many, _split_mix.py); `Tensor.exponential_` is most of what torch's
gumbel_softmax costs (benchmarks/gumbel_softmax.py).
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_categories, check_rows, host_number, is_traced
from discrete_lightning.functional._keyed import in_place_of, words_of
from discrete_lightning.functional._keyed_words import KeyedWords
from discrete_lightning.functional._logarithms import log1p_, log_
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._random import TracedGenerator, draw_seed, uniform
from discrete_lightning.functional._split_mix import SplitMix
from discrete_lightning.functional._threads import in_threads
from discrete_lightning.functional.straight_through import straight_through_one_hot

_BITS_TO_UNIT = 2.0**-31 * (1.0 - 2.0**-23)  # the factor keeps the largest uniform below 1, where E would be inf
_BLOCK = 1 << 18  # on the CPU noise is made in blocks that fit the cache: this halves the time


def exponential_source(
    shape: Sequence[int], device: torch.device, generator: torch.Generator | None, event: int = 1
) -> Callable[[Tensor, int], Tensor]:
    """A function (part, start) that fills flat parts of a float32 tensor of `shape` with Exp(1) noise.

    More than a block on the CPU takes one seed from the generator, and threads may fill parts in any order: the noise of an
    element depends on the seed and its position alone. Otherwise the whole is filled by one call, from the generator.
    The last `event` dimensions are not rows, which matters to keyed noise.
    """
    generator = in_place_of(generator)
    if (words := words_of(generator, shape, event, device)) is not None:
        return keyed_source(words)
    count = math.prod(shape)
    if device.type == "cpu" and count > _BLOCK:
        return seeded_source(int(host_number(draw_seed(generator))))

    def fill(noise: Tensor, _: int) -> Tensor:
        bits = torch.empty((count + 1) // 2, dtype=torch.int64, device=device)
        bits.random_(-(2**63), None, generator=generator)
        return _exponential_(noise.copy_(bits.view(torch.int32)[:count]))

    return fill


def seeded_source(seed: int) -> Callable[[Tensor, int], Tensor]:
    """`exponential_source` on the CPU, for any number of elements, given the seed."""
    integers = SplitMix(seed)
    return lambda noise, start: _exponential_(integers.fill_(noise, start))


def keyed_source(words: KeyedWords) -> Callable[[Tensor, int], Tensor]:
    """`exponential_source`, given the words."""
    if words.keys.device.type == "cpu":
        return lambda noise, start: _exponential_(words.fill_(noise, start))
    return lambda noise, start: _exponential_(noise.copy_(words.integers_at(start, len(noise))))


def _exponential_(integers: Tensor) -> Tensor:
    """Makes Exp(1) noise of random 32-bit integers in place."""
    # |i + 1/2|: each of 2^31 midpoints twice. Rounded to float32 only where it is large.
    return log1p_(integers.add_(0.5).abs_().mul_(-_BITS_TO_UNIT)).neg_()


def _noise(
    shape: Sequence[int],
    device: torch.device | str | None,
    generator: torch.Generator | None,
    log: bool,
    event: int = 1,
) -> Tensor:
    """Exp(1) noise E, or -log E if `log`."""
    generator = in_place_of(generator)
    if is_traced():  # torch.compile has its own generator, vmap draws different noise for each example
        exponential = traced_exponential(shape, device, generator, event)
        return -exponential.log() if log else exponential
    return drawn_noise(shape, device, generator, log, event)


def traced_exponential(
    shape: Sequence[int], device: torch.device | str | None, generator: torch.Generator | None, event: int = 1
) -> Tensor:
    """Exp(1) noise by operations that can be traced, and that every device has."""
    if (words := words_of(generator, shape, event, device)) is not None:
        return -torch.log1p(-((words.integers().float() + 0.5).abs() * _BITS_TO_UNIT).view(shape))
    if isinstance(generator, TracedGenerator):
        u = (generator.bits(shape, 31).float() + 0.5) * _BITS_TO_UNIT
    else:
        u = uniform(shape, dtype=torch.float32, device=device, generator=generator).clamp(2.0**-32, 1.0 - 2.0**-23)
    return -torch.log1p(-u)


def drawn_noise(
    shape: Sequence[int],
    device: torch.device | str | None,
    generator: torch.Generator | None,
    log: bool,
    event: int = 1,
) -> Tensor:
    """Exp(1) noise E, or -log E if `log`, outside of torch.compile and torch.func transforms."""
    noise = torch.empty(shape, device=device, dtype=torch.float32)
    # other devices lack 64-bit draws, and a fake tensor has no values
    if noise.device.type not in ("cpu", "cuda") or type(noise) is not Tensor:
        exponential = traced_exponential(shape, device, generator, event)
        return exponential.log_().neg_() if log else exponential
    flat = noise.view(-1)
    exponential_ = exponential_source(shape, noise.device, generator, event)

    def fill(start: int) -> None:
        block = exponential_(flat[start : start + size], start)
        if log:
            log_(block).neg_()

    size = _BLOCK if noise.device.type == "cpu" else max(1, len(flat))
    in_threads(range(0, len(flat), size), fill)
    return noise


def exponential_noise(
    shape: Sequence[int], *, device: torch.device | str | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """Exp(1) noise in float32, never 0 and never inf: values lie in [2.3e-10, 16].

    Args:
        shape: shape of the noise.
        device: where to draw it.
        generator: source of randomness; the device's default one if None.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> bool((exponential_noise((10_000,)).mean() - 1).abs() < 0.05)
        True
    """
    return _noise(shape, device, generator, log=False, event=0)


def gumbel_noise(
    shape: Sequence[int],
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Standard Gumbel noise, drawn in float32 and then cast to `dtype`: values lie in [-2.8, 22.2], never inf or nan.

    Args:
        shape: shape of the noise.
        dtype: floating dtype of the result. Comparing noise in a 16-bit type makes ties: keep float32 for an argmax.
        device: where to draw it.
        generator: source of randomness; the device's default one if None.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> gumbel_noise((2, 3), generator=generator).shape
        torch.Size([2, 3])
    """
    return _noise(shape, device, generator, log=True, event=0).to(dtype)


def gumbel_max(logits: Tensor, *, dim: int = -1, generator: torch.Generator | None = None) -> Tensor:
    """Exact draws from Categorical(softmax(logits)) by the Gumbel-max trick.

    Args:
        logits: unnormalised log-probabilities, any floating dtype, any shape; -inf masks a category.
        dim: dimension of the categories.
        generator: source of randomness.

    Returns:
        int64 indices, of the shape of `logits` without `dim`.

    Raises:
        ValueError: if a row holds NaN or +inf, or only -inf.

    Example:
        >>> gumbel_max(torch.tensor([[0.0, -torch.inf], [-torch.inf, 0.0]]))
        tensor([0, 1])
    """
    check_categories(logits, dim)
    perturbed = perturb(logits.detach(), generator)
    best, index = perturbed.max(dim)
    check_rows(best.sub(best).unsqueeze(dim), logits, dim)  # inf - inf and nan - nan are nan
    return index


def categorical_one_hot(logits: Tensor, *, dim: int = -1, generator: torch.Generator | None = None) -> Tensor:
    """Exact one-hot draws from Categorical(softmax(logits)): gumbel_max as vectors, of the shape and dtype of `logits`.

    Raises:
        ValueError: if a row holds NaN or +inf, or only -inf.

    Example:
        >>> categorical_one_hot(torch.tensor([0.0, -torch.inf]))
        tensor([1., 0.])
    """
    check_categories(logits, dim)
    return argmax_one_hot(perturb(logits.detach(), generator), logits.detach(), dim)


def argmax_one_hot(scores: Tensor, logits: Tensor, dim: int = -1) -> Tensor:
    """One-hot argmax of `scores`, in the shape and dtype of `logits`. No gradient.

    Args:
        scores: the logits themselves for the mode, or perturbed for a draw.
        logits: what the scores came from.
        dim: dimension of the categories.

    Raises:
        ValueError: if a row holds NaN or +inf, or only -inf (on an accelerator its result is NaN).

    Example:
        >>> logits = torch.tensor([0.0, 2.0, 1.0])
        >>> argmax_one_hot(logits, logits)
        tensor([0., 1., 0.])
    """
    check_categories(logits, dim)
    best, index = scores.detach().max(dim)
    valid = float32(best - best)  # inf - inf and nan - nan are nan
    check_rows(valid.unsqueeze(dim), logits, dim)
    return straight_through_one_hot(index, logits.detach(), valid, dim)


def perturb(logits: Tensor, generator: torch.Generator | None) -> Tensor:
    """Logits + Gumbel noise, in float32 (float64 logits stay float64)."""
    noise = _noise(logits.shape, logits.device, generator, log=True)
    if logits.dtype == torch.float32 and not is_traced():
        return noise.add_(logits)  # in place: nothing else holds the noise
    return float32(logits) + noise
