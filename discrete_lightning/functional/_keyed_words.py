"""Random words as a pure function of a key and a position: what keyed noise is made of.

    word n of the keys (a, b) = m_2(m_1((a + n) * gamma) ^ b)

m_2(m_1(z)) is the mixing function of SplitMix64 (Steele et al. 2014, https://doi.org/10.1145/2660193.2660195), gamma its
constant. With b in the middle, two rows whose counters a + n meet still have different words. The keys of a row are
themselves mixed: a = mix(mix(draw) + (row + 1) * gamma), b = mix(a + gamma).

A word gives two integers of 32 bits, or one of 53. The same bits come from numpy on the CPU, block by block and in several
threads, and from int64 operations of torch elsewhere (an accelerator, torch.compile), whose shifts to the right are signed
and therefore masked.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

GAMMA = 0x9E3779B97F4A7C15
_M1, _M2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_WORDS = 1 << 14  # at a time, so that they stay in the cache

Words = NDArray[np.uint64]
Numbers = NDArray[np.float32] | NDArray[np.int32] | NDArray[np.int64]


def signed(number: int) -> int:
    """The lowest 64 bits as int64."""
    return (number + 2**63) % 2**64 - 2**63


def mix_number(z: int) -> int:
    """`mix` of a Python number: 64 bits, without a sign."""
    z %= 2**64
    z = (z ^ z >> 30) * _M1 % 2**64
    z = (z ^ z >> 27) * _M2 % 2**64
    return z ^ z >> 31


def mix(x: Tensor) -> Tensor:
    """SplitMix64's mixing function of int64."""
    return _second(_first(x))


def _first(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * signed(_M1)
    return x ^ _shift(x, 27)


def _second(x: Tensor) -> Tensor:
    x = x * signed(_M2)
    return x ^ _shift(x, 31)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Shifts int64 to the right as if it had no sign."""
    return (x >> bits) & (2 ** (64 - bits) - 1)


class KeyedWords(NamedTuple):
    """The random words of one draw, a flat tensor of elements (rows, inner).

    Attributes:
        keys: int64 (2, rows), a and b of each row.
        inner: elements of a row.
    """

    keys: Tensor
    inner: int

    def integers(self) -> Tensor:
        """Uniform integers in [-2^31, 2^31) of all elements, int64, by torch."""
        return _halves(self.keys.unsqueeze(-1), torch.arange(self.inner, device=self.keys.device))

    def long_integers(self) -> Tensor:
        """Uniform integers of 53 bits, likewise."""
        number = torch.arange(self.inner, device=self.keys.device)
        return _shift(_words(self.keys.unsqueeze(-1), number), 11).flatten()

    def integers_at(self, start: int, count: int) -> Tensor:
        """`integers` of `count` elements from `start` on. It divides, which takes a CPU long."""
        flat = torch.arange(start, start + count, device=self.keys.device)
        return _halves(self.keys[:, flat // self.inner], flat % self.inner)

    def fill_(self, part: Tensor, start: int) -> Tensor:
        """Fills flat `part`, on the CPU, with the elements from `start` on. Threads may fill parts at a time.

        Args:
            part: float32 or int32 for `integers`, int64 for `long_integers`.
            start: the number of its first element.
        """
        keys = self.keys.numpy().view(np.uint64)
        scaled = keys[0] * np.uint64(GAMMA)  # (a + n) * gamma = a * gamma + n * gamma
        target, inner = part.numpy(), self.inner
        place, end = start, start + len(part)
        while place < end:
            row, first = divmod(place, inner)
            if first or end - place < inner:  # a part of one row
                count, taken = 1, min(inner - first, end - place)
            else:
                count, taken = (end - place) // inner, inner
            out = target[place - start : place - start + count * taken].reshape(count, taken)
            _fill(out, scaled[row : row + count, None], keys[1][row : row + count, None], first)
            place += count * taken
        return part


def _words(keys: Tensor, number: Tensor) -> Tensor:
    return _second(_first((keys[0] + number) * signed(GAMMA)) ^ keys[1])


def _halves(keys: Tensor, number: Tensor) -> Tensor:
    """The lower half of a word for an even number, the upper one for an odd, with their signs; flat."""
    words = _words(keys, number >> 1)
    return ((words << ((1 - (number & 1)) * 32)) >> 32).flatten()


def _fill(out: Numbers, a: Words, b: Words, first: int) -> None:
    """Integers, from number `first` of each row on, into `out` (rows, numbers)."""
    rows, numbers = out.shape
    of_word = 8 // out.itemsize  # integers that a word gives
    skipped = first % of_word
    width = min(-(-(numbers + skipped) // of_word), _WORDS)  # words of a row at a time
    height = max(1, _WORDS // width)
    words, shifted = np.empty((2, height, width), np.uint64)
    for column in range(-skipped, numbers, of_word * width):
        begin = (first + column) // of_word
        steps = np.arange(begin, begin + width, dtype=np.uint64) * np.uint64(GAMMA)
        for row in range(0, rows, height):
            part = slice(row, row + height)
            z, other = words[: len(a[part])], shifted[: len(a[part])]
            np.add(a[part], steps, out=z)
            np.bitwise_xor(z, np.right_shift(z, np.uint64(30), out=other), out=z)
            np.multiply(z, np.uint64(_M1), out=z)
            np.bitwise_xor(z, np.right_shift(z, np.uint64(27), out=other), out=z)
            np.bitwise_xor(z, b[part], out=z)
            np.multiply(z, np.uint64(_M2), out=z)
            np.bitwise_xor(z, np.right_shift(z, np.uint64(31), out=other), out=z)
            here = out[part, max(0, column) : column + of_word * width]
            made = z.view(np.int32) if of_word == 2 else np.right_shift(z, np.uint64(11), out=z)
            np.copyto(here, made[:, max(0, -column) :][:, : here.shape[1]], casting="unsafe")
