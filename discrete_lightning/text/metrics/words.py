"""Words of lines, and 64-bit hashes of runs of them that are the same in every process.

A run (w_1 ... w_n) has the hash sum_j h(w_j) M^(n-j) mod 2^64, h from BLAKE2: two of a million different runs share one
with a probability of 1e-7.
"""

import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Line = str | Sequence[str]

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_FACTOR = 0x9E3779B97F4A7C17  # odd


def words_of(text: str) -> list[str]:
    """Words in lower case; marks and quotes are left out, apostrophes and hyphens inside a word are kept.

    Example:
        >>> words_of("O'er the sea-shore, 'Tis gone!")
        ["o'er", 'the', 'sea-shore', 'tis', 'gone']
    """
    return _WORD.findall(text.lower())


def as_words(lines: Iterable[Line]) -> list[list[str]]:
    """Lines as lists of words: a string by `words_of`, a list of words as it is.

    Raises:
        ValueError: if `lines` is one string.
    """
    if isinstance(lines, str):
        raise ValueError(
            "lines are a list of strings or of lists of words, got one string: split it with .splitlines()"
        )
    return [words_of(line) if isinstance(line, str) else list(line) for line in lines]


def check_length(n: int) -> None:
    """Raises ValueError unless a run has a word."""
    if n < 1:
        raise ValueError(f"a run has n >= 1 words, got n={n}")


def hash_words(words: Sequence[str]) -> NDArray[np.int64]:
    """A hash of each word, (number of words,)."""
    known: dict[str, int] = {}
    for word in words:
        if word not in known:
            known[word] = int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "little", signed=True)
    return np.array([known[word] for word in words], dtype=np.int64)


def hash_runs(lines: Sequence[Sequence[str]], n: int) -> NDArray[np.int64]:
    """A hash of each run of n words within a line, (number of runs,), in order."""
    long = [line for line in lines if len(line) >= n]
    if not long:
        return np.zeros(0, dtype=np.int64)
    words = hash_words([word for line in long for word in line]).view(np.uint64)
    runs = np.zeros(len(words) - n + 1, dtype=np.uint64)
    for place in range(n):
        runs = runs * np.uint64(_FACTOR) + words[place : len(runs) + place]
    ends = np.cumsum([len(line) for line in long])
    starts = np.ones(len(words) + 1, dtype=bool)
    for place in range(1, n):
        starts[ends - place] = False  # such a run would reach into the next line
    return runs[starts[: len(runs)]].view(np.int64)


def hash_lines(lines: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """A hash of each line, (number of lines,)."""
    return hash_words(["\n".join([*line, ""]) for line in lines])  # no word holds a line end
