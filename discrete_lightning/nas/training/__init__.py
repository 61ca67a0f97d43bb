"""Architecture search in Lightning: search, retraining, what is written of both."""

from discrete_lightning.nas.training.architecture_writer import ArchitectureWriter
from discrete_lightning.nas.training.method import DARTS, GDAS, SNAS, Sampled, SearchMethod, SecondOrderDARTS
from discrete_lightning.nas.training.retrain import ArchitectureTraining
from discrete_lightning.nas.training.search import ArchitectureSearch
from discrete_lightning.nas.training.search_monitor import SearchMonitor
from discrete_lightning.nas.training.search_split import SearchSplit
from discrete_lightning.nas.training.settings import CostTarget, SearchOptimizers

__all__ = [
    "DARTS",
    "GDAS",
    "SNAS",
    "ArchitectureSearch",
    "ArchitectureTraining",
    "ArchitectureWriter",
    "CostTarget",
    "Sampled",
    "SearchMethod",
    "SearchMonitor",
    "SearchOptimizers",
    "SearchSplit",
    "SecondOrderDARTS",
]
