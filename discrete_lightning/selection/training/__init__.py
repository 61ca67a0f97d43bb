"""Selection in Lightning: callbacks that meet a budget and watch gates; the search for columns of a table, and its report."""

from discrete_lightning.selection.training.budget import Budget
from discrete_lightning.selection.training.feature_selection import FeatureSelection
from discrete_lightning.selection.training.gate_monitor import GateMonitor
from discrete_lightning.selection.training.table_data import FeatureTable

__all__ = ["Budget", "FeatureSelection", "FeatureTable", "GateMonitor"]
