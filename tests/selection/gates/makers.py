"""One of each layer of gates."""

from collections.abc import Callable
from typing import Any

import pytest

from discrete_lightning.estimators import SIMPLE, DisARM, GumbelSoftmax, LeaveOneOut
from discrete_lightning.selection import Gate, GateLayer, HardConcrete, SelectK, StochasticGate

# of a size, and of other arguments by name
GATES: dict[str, Callable[..., GateLayer]] = {
    "Gate": Gate,
    "Gate_soft": lambda size, **options: Gate(size, GumbelSoftmax(), **options),
    "HardConcrete": HardConcrete,
    "StochasticGate": StochasticGate,
    "SelectK": lambda size, **options: SelectK(max(1, size // 2), size, **options),
    "SelectK_SIMPLE": lambda size, **options: SelectK(max(1, size // 2), size, SIMPLE(), **options),
}
# these are used through `expectation`, and cannot be called in training
BY_EXPECTATION: dict[str, Callable[..., GateLayer]] = {
    "Gate_DisARM": lambda size, **options: Gate(size, DisARM(), **options),
    "Gate_LeaveOneOut": lambda size, **options: Gate(size, LeaveOneOut(), **options),
    "SelectK_LeaveOneOut": lambda size, **options: SelectK(max(1, size // 2), size, LeaveOneOut(), **options),
}
ALL: dict[str, Callable[..., GateLayer]] = {**GATES, **BY_EXPECTATION}

each_gate = pytest.mark.parametrize("name", GATES)
each_of_all = pytest.mark.parametrize("name", ALL)


def location(gate: GateLayer) -> Any:
    """The parameter that says how open each gate is."""
    (parameter,) = gate.parameters(recurse=False)
    return parameter
