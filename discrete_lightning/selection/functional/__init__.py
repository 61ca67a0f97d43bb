"""Functions of gates that are on or off."""

from discrete_lightning.selection.functional.hard_concrete import (
    hard_concrete,
    hard_concrete_mean,
    hard_concrete_probability,
)
from discrete_lightning.selection.functional.stochastic_gate import stochastic_gate, stochastic_gate_probability

__all__ = [
    "hard_concrete",
    "hard_concrete_mean",
    "hard_concrete_probability",
    "stochastic_gate",
    "stochastic_gate_probability",
]
