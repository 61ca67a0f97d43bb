"""Known faults that are not fixed yet: the one list of crossings that fail.

Each entry is a strict xfail: mending the fault makes its test fail until the entry is removed.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import pytest

_B23 = "B23: computed in float64, which MPS does not have"

# (test, glob of entries of the table): number of the fault, and what is wrong
KNOWN_FAULTS: dict[tuple[str, str], str] = {
    ("averaging", "ema-ArchitectureSearch"): "F16: `seed` and `draws` are buffers, and buffers are averaged",
    ("averaging", "ema-ema"): "F16: `updates` is a buffer, and buffers are averaged",
    ("averaging", "ema-learned"): "F16: `updates` is a buffer, and buffers are averaged",
    ("model meta", "SequenceDesigner"): "B8: reads a tensor while it is built",
    ("model float64", "ArchitectureSearch"): _B23,
    ("float64", "revived"): _B23,
    ("float64", "ArchitectureChoice"): _B23,
    ("float64", "OneOf*"): _B23,
    ("float64", "supernet"): _B23,
}


def cases(test: str, names: Iterable[str]) -> list[Any]:
    """Parameters of a test: the names, those with a known fault marked."""
    return [pytest.param(name, marks=_marks(test, name)) for name in names]


def _marks(test: str, name: str) -> list[Any]:
    reasons = [reason for (of, pattern), reason in KNOWN_FAULTS.items() if of == test and fnmatchcase(name, pattern)]
    return [pytest.mark.xfail(strict=True, reason=reason) for reason in reasons]
