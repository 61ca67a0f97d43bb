"""The fuzzer finds nothing in some cases of another seed than its script's, and what it is there to find."""

import warnings

import torch

from benchmarks.reliability.fuzz import case_of
from benchmarks.reliability.fuzz_case import Case, faults


def test_some_cases() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {number: faults(case_of(20, number)) for number in range(150)}
    assert {number: each for number, each in found.items() if each} == {}


def _short() -> None:
    raise ValueError("no")


def test_what_is_wrong_is_found() -> None:
    leaf = torch.zeros(2, requires_grad=True)
    cases = {
        "NaN in a result": Case("", lambda: leaf / 0),
        "infinity in a result": Case("", lambda: (leaf + 1) / 0),
        "gradient 0 of torch.float32 holds": Case("", leaf.sqrt, leaves=[(leaf, 1.0)]),
        "bad input taken in silence": Case("", lambda: leaf, valid=False),
        "crash: IndexError": Case("", lambda: leaf[3], valid=False),
        "a riddle: ValueError": Case("", _short, valid=False),
        "valid input refused": Case("", lambda: torch.zeros(2).view("a")),  # type: ignore[call-overload]
    }
    for words, case in cases.items():
        assert any(words in each for each in faults(case)), words
