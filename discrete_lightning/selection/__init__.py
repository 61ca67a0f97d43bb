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
from discrete_lightning.selection.mask_linear import kept_weight_bonus, mask_linear, pattern_masks, remove_masks
from discrete_lightning.selection.pattern_mask import PatternMask, magnitude_pattern, sparsity_patterns

__all__ = [
    "BudgetController",
    "BudgetError",
    "ConcreteSelector",
    "Gate",
    "GateLayer",
    "HardConcrete",
    "PatternMask",
    "SelectK",
    "StochasticGate",
    "deployed_cost",
    "expected_cost",
    "gate_layers",
    "kept_weight_bonus",
    "magnitude_pattern",
    "mask_linear",
    "open_gates",
    "pattern_masks",
    "remove_masks",
    "sparsity_patterns",
]
