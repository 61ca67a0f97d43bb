"""Random integers as a function of a seed and a position, so that each thread makes those of its own block (on the CPU).

    word n = mix(key + n * gamma)

SplitMix64 (Steele et al. 2014, https://doi.org/10.1145/2660193.2660195). Its key and gamma are a hash of the seed, so the
words of two seeds nowhere run in parallel. numpy has the wrapping integer operations, and lets other threads run meanwhile.
"""

import hashlib

import numpy as np
from torch import Tensor

_WORDS = 1 << 14  # at a time, so that they stay in the cache


class SplitMix:
    """The random integers of one tensor, part by part.

    Args:
        seed: of 63 bits; each gives other integers.
    """

    def __init__(self, seed: int) -> None:
        digest = hashlib.blake2b(seed.to_bytes(8, "little"), digest_size=16).digest()
        self._key, gamma = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little") | 1
        if (gamma ^ gamma >> 1).bit_count() < 24:  # too regular: the paper's `mixGamma`
            gamma ^= 0xAAAAAAAAAAAAAAAA
        self._gamma = gamma
        self._steps = np.arange(_WORDS, dtype=np.uint64) * np.uint64(gamma)

    def fill_(self, part: Tensor, start: int) -> Tensor:
        """Fills flat float32 `part` with uniform integers in [-2^31, 2^31): those at positions `start`, `start` + 1, ..."""
        numbers = part.numpy()
        words, shifted = np.empty_like(self._steps), np.empty_like(self._steps)
        for begin in range(-(start % 2), len(numbers), 2 * _WORDS):  # a word gives the integers at two positions
            key = self._key + (start + begin) // 2 * self._gamma
            np.add(self._steps, np.uint64(key % 2**64), out=words)
            for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
                np.bitwise_xor(words, np.right_shift(words, np.uint64(shift), out=shifted), out=words)
                np.multiply(words, np.uint64(factor), out=words)
            np.bitwise_xor(words, np.right_shift(words, np.uint64(31), out=shifted), out=words)
            target = numbers[max(0, begin) : begin + 2 * _WORDS]
            np.copyto(target, words.view(np.int32)[max(0, -begin) :][: len(target)], casting="unsafe")
        return part
