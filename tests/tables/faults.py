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
    (
        "compile",
        "large_gumbel",
    ): "new: under torch.compile the backward pass draws other noise than the forward pass did",
    ("float64", "revived"): _B23,
    ("deterministic", "Relaxed[CB]*_GappedStraightThrough"): _CUMSUM,
    ("deterministic", "Relaxed[CB]*_GumbelRao"): _CUMSUM,
    ("deterministic", "Relaxed[CB]*_ReinMax"): _CUMSUM,
    ("deterministic", "RelaxedCategorical_StraightThrough"): _CUMSUM,
    ("deterministic", "revived"): _CUMSUM,
    ("deterministic expectation", "GappedStraightThrough"): _CUMSUM,
    ("deterministic expectation", "GumbelRao"): _CUMSUM,
    ("deterministic expectation", "ReinMax"): _CUMSUM,
    ("deterministic expectation", "StraightThrough"): _CUMSUM,
    ("deterministic model", "SequenceDesigner"): _CUMSUM,
}


def cases(test: str, names: Iterable[str]) -> list[Any]:
    """Parameters of a test: the names, those with a known fault marked."""
    return [pytest.param(name, marks=_marks(test, name)) for name in names]


def _marks(test: str, name: str) -> list[Any]:
    reasons = [reason for (of, pattern), reason in KNOWN_FAULTS.items() if of == test and fnmatchcase(name, pattern)]
    return [pytest.mark.xfail(strict=True, reason=reason) for reason in reasons]
