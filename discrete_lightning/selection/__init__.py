"""Selection: features, heads, channels and weights that are on or off, in plain PyTorch."""

from discrete_lightning.selection.budget import (
    BudgetController,
    BudgetError,
    deployed_cost,
    expected_cost,
    gate_layers,
    open_gates,
)
from discrete_lightning.selection.gates import ConcreteSelector, Gate, GateLayer, HardConcrete, SelectK, StochasticGate

__all__ = [
    "BudgetController",
    "BudgetError",
    "ConcreteSelector",
    "Gate",
    "GateLayer",
    "HardConcrete",
    "SelectK",
    "StochasticGate",
    "deployed_cost",
    "expected_cost",
    "gate_layers",
    "open_gates",
]
