"""Uniform draws, seeds for several generators, and noise that torch.compile can trace."""

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from discrete_lightning.functional._checks import is_traced
from discrete_lightning.functional._keyed import KeyedGenerator, in_place_of, words_of
from discrete_lightning.functional._keyed_words import KeyedWords
from discrete_lightning.functional._threads import in_threads

_BLOCK = 1 << 18  # on the CPU keyed integers are made in blocks that fit the cache


class TracedGenerator:
    """Takes the place of a torch.Generator inside torch.compile, which cannot seed one: noise as a function of a seed.

    Word n is mix(mix(key ^ n) + key), with the mixing function of SplitMix64 (Steele et al. 2014,
    https://doi.org/10.1145/2660193.2660195). Integer arithmetic alone, so it is compiled into the operation that uses the
    noise. n itself is not multiplied: a compiler takes that for an index, which may not overflow.

    Args:
        seed: 0-dim int64, on the device where the noise is needed.
        number: a different one (of a rank) gives independent noise.
    """

    def __init__(self, seed: Tensor, number: int) -> None:
        self.key = _mix(_mix(seed) + number)
        self.drawn: int = 0

    def bits(self, shape: Sequence[int], number: int) -> Tensor:
        """Uniform integers of `number` < 64 random bits, int64."""
        count = math.prod(shape)
        counter = torch.arange(self.drawn, self.drawn + count, device=self.key.device)
        self.drawn += count
        return _shift(_mix(_mix(self.key ^ counter) + self.key), 64 - number).view(shape)

    def seed(self) -> Tensor:
        """A seed for another generator, 0-dim int64."""
        return self.bits((), 62)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * (0xBF58476D1CE4E5B9 - 2**64)
    x = (x ^ _shift(x, 27)) * (0x94D049BB133111EB - 2**64)
    return x ^ _shift(x, 31)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Shifts int64 to the right as if it had no sign."""
    return (x >> bits) & (2 ** (64 - bits) - 1)


def uniform(
    shape: Sequence[int], *, dtype: torch.dtype, device: torch.device | str | None, generator: torch.Generator | None
) -> Tensor:
    """torch.rand. torch.compile cannot trace a dynamic shape together with `generator=`, even None, so it is left out then."""
    generator = in_place_of(generator)
    if (words := words_of(generator, shape, 0, device)) is not None:
        count = math.prod(shape)
        if dtype == torch.float64:
            return (_integers(words, count, torch.int64) * 2.0**-53).view(shape)
        return ((_integers(words, count) >> 8) + 2**23).to(dtype).mul(2.0**-24).view(shape)
    if generator is None:
        return torch.rand(shape, dtype=dtype, device=device)
    if isinstance(generator, TracedGenerator):
        bits = 53 if dtype == torch.float64 else 24
        return generator.bits(shape, bits).to(dtype) * 2.0**-bits
    return torch.rand(shape, dtype=dtype, device=device, generator=generator)


def normal(shape: Sequence[int], *, device: torch.device | str | None, generator: torch.Generator | None) -> Tensor:
    """torch.randn in float32; of a traced or keyed generator by the polar form of Box & Muller (1958)."""
    generator = in_place_of(generator)
    if (words := words_of(generator, shape, 0, device)) is not None:
        square = (_integers(words, math.prod(shape)).float() + 0.5).abs() * 2.0**-31 * (1 - 2.0**-23)
        angle = uniform(shape, dtype=torch.float32, device=device, generator=generator)
        return torch.sqrt(-2 * torch.log(square)).view(shape) * torch.cos(2 * math.pi * angle)
    if generator is None:
        return torch.randn(shape, dtype=torch.float32, device=device)  # see `uniform`
    if isinstance(generator, TracedGenerator):
        radius, angle = uniform((2, *shape), dtype=torch.float32, device=device, generator=generator)
        return torch.sqrt(-2 * torch.log1p(-radius)) * torch.cos(2 * math.pi * angle)
    return torch.randn(shape, dtype=torch.float32, device=device, generator=generator)


def _integers(words: KeyedWords, count: int, dtype: torch.dtype = torch.int32) -> Tensor:
    """Uniform integers in [-2^31, 2^31), flat; of 53 bits in int64."""
    if words.keys.device.type != "cpu" or type(words.keys) is not Tensor or is_traced():
        return words.integers() if dtype == torch.int32 else words.long_integers()
    integers = torch.empty(count, dtype=dtype, device="cpu")

    def fill(start: int) -> None:
        words.fill_(integers[start : start + _BLOCK], start)

    in_threads(range(0, count, _BLOCK), fill)
    return integers


def draw_seed(generator: torch.Generator | None) -> Tensor:
    """A seed for another generator, 0-dim int64 and where it can be read without waiting for a device.

    The generator (the default one of the CPU if None) moves on. On an accelerator it makes its numbers on the device, so the
    seed is a hash of its state, which is on the host.
    """
    generator = in_place_of(generator)
    if isinstance(generator, TracedGenerator):
        return generator.seed()
    if isinstance(generator, KeyedGenerator):
        return generator.seed()
    if generator is None:
        return torch.randint(2**62, (), device="cpu")
    if generator.device.type == "cpu":
        return torch.randint(2**62, (), device="cpu", generator=generator)
    state = generator.get_state().numpy().tobytes()
    torch.empty(1, device=generator.device).uniform_(generator=generator)
    return torch.tensor(int.from_bytes(hashlib.blake2b(state, digest_size=7).digest(), "big"))


def numbered_seed(seed: int, number: int) -> int:
    """A different seed for each number (a rank, a draw, a step), computed from `seed` and `number` alone.

    Multiplication by the Weyl constant makes seeds of nearby numbers differ in all bits.
    """
    return (seed ^ (number * 0x9E3779B97F4A7C15)) & (2**63 - 1)
