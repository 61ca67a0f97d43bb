"""Selection in Lightning: a budget for gates, a monitor of them, a model that is pruned, and a writer of what is left."""

from discrete_lightning.selection.training.budget import Budget
from discrete_lightning.selection.training.gate_monitor import GateMonitor
from discrete_lightning.selection.training.pruned_network import PrunedNetwork
from discrete_lightning.selection.training.pruned_writer import PrunedWriter

__all__ = ["Budget", "GateMonitor", "PrunedNetwork", "PrunedWriter"]
