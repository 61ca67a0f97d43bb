"""Selection: features, heads, channels and weights that are on or off, in plain PyTorch."""

from typing import TYPE_CHECKING, Any

from discrete_lightning.selection.budget import (
    BudgetController,
    deployed_cost,
    expected_cost,
    gate_layers,
    open_gates,
)
from discrete_lightning.selection.decision import BudgetError
from discrete_lightning.selection.derive import derive
from discrete_lightning.selection.gates import ConcreteSelector, Gate, GateLayer, HardConcrete, SelectK, StochasticGate
from discrete_lightning.selection.gates.by_word import gate_of
from discrete_lightning.selection.mask_linear import kept_weight_bonus, mask_linear, pattern_masks, remove_masks
from discrete_lightning.selection.network_cost import NetworkCost, count_flops, count_parameters
from discrete_lightning.selection.pattern_mask import PatternMask, magnitude_pattern, sparsity_patterns
from discrete_lightning.selection.propose_ties import propose_ties, set_ties
from discrete_lightning.selection.ties import Part, TieError, tie

if TYPE_CHECKING:
    from discrete_lightning.selection.feature_selector import FeatureSelector

__all__ = [
    "BudgetController",
    "BudgetError",
    "ConcreteSelector",
    "FeatureSelector",
    "Gate",
    "GateLayer",
    "HardConcrete",
    "NetworkCost",
    "Part",
    "PatternMask",
    "SelectK",
    "StochasticGate",
    "TieError",
    "count_flops",
    "count_parameters",
    "deployed_cost",
    "derive",
    "expected_cost",
    "gate_layers",
    "gate_of",
    "kept_weight_bonus",
    "magnitude_pattern",
    "mask_linear",
    "open_gates",
    "pattern_masks",
    "propose_ties",
    "remove_masks",
    "set_ties",
    "sparsity_patterns",
    "tie",
]


def __getattr__(name: str) -> Any:
    if name == "FeatureSelector":  # needs scikit-learn, which the gates do not
        from discrete_lightning.selection.feature_selector import FeatureSelector

        return FeatureSelector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
