"""Selection in Lightning: a budget for gates, their monitor, search for columns of a table, pruned and masked networks."""

from discrete_lightning.selection.training.budget import Budget
from discrete_lightning.selection.training.feature_selection import FeatureSelection
from discrete_lightning.selection.training.gate_monitor import GateMonitor
from discrete_lightning.selection.training.patterns import PatternLearning, gap_closed
from discrete_lightning.selection.training.pruned_network import PrunedNetwork
from discrete_lightning.selection.training.pruned_writer import PrunedWriter
from discrete_lightning.selection.training.table_data import FeatureTable

__all__ = [
    "Budget",
    "FeatureSelection",
    "FeatureTable",
    "GateMonitor",
    "PatternLearning",
    "PrunedNetwork",
    "PrunedWriter",
    "gap_closed",
]
