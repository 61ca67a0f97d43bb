"""Lightning callbacks. They find layers by type, so they work on any LightningModule that holds them."""

from discrete_lightning.callbacks.annealing import ScalarAnnealing, TemperatureAnnealing, WeightAnnealing
from discrete_lightning.callbacks.architecture_writer import ArchitectureWriter
from discrete_lightning.callbacks.code_writer import CodeWriter
from discrete_lightning.callbacks.codebook_monitor import CodebookMonitor
from discrete_lightning.callbacks.gradient_probe import GradientProbe
from discrete_lightning.callbacks.reconstructions import Reconstructions
from discrete_lightning.callbacks.search_monitor import SearchMonitor

__all__ = [
    "ArchitectureWriter",
    "CodeWriter",
    "CodebookMonitor",
    "GradientProbe",
    "Reconstructions",
    "ScalarAnnealing",
    "SearchMonitor",
    "TemperatureAnnealing",
    "WeightAnnealing",
]
