"""Selection in Lightning: a callback that meets a budget, and one that watches gates."""

from discrete_lightning.selection.training.budget import Budget
from discrete_lightning.selection.training.gate_monitor import GateMonitor

__all__ = ["Budget", "GateMonitor"]
