"""Tests of random words, with p-values: frequency, serial pairs, lagged correlation of bits, birthday spacings, dieharder."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Words = NDArray[np.uint64]
DIEHARDER = {
    0: "birthdays",
    2: "rank 32x32",
    8: "count 1s stream",
    15: "runs",
    100: "monobit",
    101: "runs",
    102: "serial",
}


def _bytes(words: Words, place: int) -> NDArray[np.int64]:
    return ((words >> np.uint64(8 * place)) & np.uint64(255)).astype(np.int64)


def frequency(words: Words) -> list[float]:
    """Chi-square of each of the eight bytes."""
    counts = (np.bincount(_bytes(words, place), minlength=256) for place in range(8))
    return [float(stats.chisquare(each).pvalue) for each in counts]


def serial(words: Words) -> list[float]:
    """Chi-square of bytes of a word and the next: 65,536 cells."""
    found = []
    for place in range(8):
        one = _bytes(words, place)
        pairs = one[:-1:2] * 256 + one[1::2]
        found.append(float(stats.chisquare(np.bincount(pairs, minlength=65_536)).pvalue))
    return found


def correlation(words: Words, lags: int = 3) -> list[float]:
    """Each bit of a word with each bit of those after it: the largest of 4,096 at each lag, corrected."""
    bits = np.unpackbits(words.view(np.uint8)).reshape(-1, 64).astype(np.float32) * 2 - 1
    found = []
    for lag in range(1, lags + 1):
        z = np.abs(bits[:-lag].T @ bits[lag:]).max() / np.sqrt(len(bits) - lag)
        found.append(float(-np.expm1(4096 * np.log1p(-2 * stats.norm.sf(z)))))
    return found


def birthdays(words: Words) -> list[float]:
    """Equal spacings among 4,096 birthdays of 2^34 days, of upper and of lower bits: their sum is Poisson."""
    size, found = 4096, []
    for shift in (0, 30):
        days = ((words >> np.uint64(shift)) & np.uint64(2**34 - 1)).astype(np.int64)
        groups = np.sort(days[: len(days) // size * size].reshape(-1, size), 1)
        spacings = np.sort(np.diff(groups, axis=1), 1)
        equal = int((np.diff(spacings, axis=1) == 0).sum())
        expected = len(groups) * size**3 / (4 * 2**34)
        found.append(float(2 * min(stats.poisson.cdf(equal, expected), stats.poisson.sf(equal - 1, expected), 0.5)))
    return found


TESTS: dict[str, Callable[[Words], list[float]]] = {
    "frequency": frequency, "serial": serial, "correlation": correlation, "birthdays": birthdays,
}  # fmt: skip


def dieharder(words: Callable[[int], Words], tests: list[int]) -> Iterator[tuple[str, float]]:
    """(name, p) of each of its results; nothing where it is not installed.

    Args:
        words: makes the words of block number n.
        tests: its numbers.
    """
    program = shutil.which("dieharder")
    for test in tests if program else []:
        assert program is not None
        with subprocess.Popen(
            [program, "-g", "200", "-d", str(test), "-D", "test_name", "-D", "pvalues", "-c", "|"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=False,
        ) as process:  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            block = 0
            try:
                while process.poll() is None:
                    process.stdin.write(words(block).tobytes())
                    block += 1
                process.stdin.close()
            except BrokenPipeError:
                pass  # it has seen enough
            for line in process.stdout.read().decode().splitlines():
                if match := re.match(r"\s*([\w -]+?)\s*\|.*?([01]\.\d+)", line):
                    yield match[1], float(match[2])
