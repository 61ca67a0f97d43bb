"""Known faults that are not fixed yet: the one list of crossings that fail.

Each entry is a strict xfail: mending the fault makes its test fail until the entry is removed.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import pytest

_B23 = "B23: computed in float64, which MPS does not have"
_CUMSUM = "new: a cumulative sum of floats, which CUDA refuses under deterministic=True"

# (test, glob of entries of the table): number of the fault, and what is wrong
KNOWN_FAULTS: dict[tuple[str, str], str] = {
    ("averaging", "ema-ema"): "F16: `updates` is a buffer, and buffers are averaged",
    ("averaging", "ema-learned"): "F16: `updates` is a buffer, and buffers are averaged",
    ("float64", "revived"): _B23,
    ("deterministic", "revived"): _CUMSUM,
}


def cases(test: str, names: Iterable[str]) -> list[Any]:
    """Parameters of a test: the names, those with a known fault marked."""
    return [pytest.param(name, marks=_marks(test, name)) for name in names]


def _marks(test: str, name: str) -> list[Any]:
    reasons = [reason for (of, pattern), reason in KNOWN_FAULTS.items() if of == test and fnmatchcase(name, pattern)]
    return [pytest.mark.xfail(strict=True, reason=reason) for reason in reasons]
