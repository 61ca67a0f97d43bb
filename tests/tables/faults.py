"""Known faults that are not fixed yet: the one list of crossings that fail.

Each entry is a strict xfail: mending the fault makes its test fail until the entry is removed.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import pytest

# (test, glob of entries of the table): number of the fault, and what is wrong
KNOWN_FAULTS: dict[tuple[str, str], str] = {}


def cases(test: str, names: Iterable[str]) -> list[Any]:
    """Parameters of a test: the names, those with a known fault marked."""
    return [pytest.param(name, marks=_marks(test, name)) for name in names]


def _marks(test: str, name: str) -> list[Any]:
    reasons = [reason for (of, pattern), reason in KNOWN_FAULTS.items() if of == test and fnmatchcase(name, pattern)]
    return [pytest.mark.xfail(strict=True, reason=reason) for reason in reasons]
