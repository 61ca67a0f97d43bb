"""Layers of gates: each entry of a dimension is on or off."""

from discrete_lightning.selection.gates.concrete_selector import ConcreteSelector
from discrete_lightning.selection.gates.gate import Gate
from discrete_lightning.selection.gates.gate_layer import GateLayer
from discrete_lightning.selection.gates.hard_concrete import HardConcrete
from discrete_lightning.selection.gates.select_k import SelectK
from discrete_lightning.selection.gates.stochastic_gate import StochasticGate

__all__ = ["ConcreteSelector", "Gate", "GateLayer", "HardConcrete", "SelectK", "StochasticGate"]
