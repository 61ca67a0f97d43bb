"""Lightning callbacks. They find layers by type, so they work on any LightningModule that holds them."""

from discrete_lightning.callbacks.annealing import ScalarAnnealing, TemperatureAnnealing, WeightAnnealing
from discrete_lightning.callbacks.architecture_writer import ArchitectureWriter
from discrete_lightning.callbacks.code_writer import CodeWriter
from discrete_lightning.callbacks.codebook_monitor import CodebookMonitor
from discrete_lightning.callbacks.design_trajectory import DesignTrajectory
from discrete_lightning.callbacks.design_writer import DesignCallback, DesignWriter
from discrete_lightning.callbacks.gradient_probe import GradientProbe
from discrete_lightning.callbacks.reconstructions import Reconstructions
from discrete_lightning.callbacks.search_monitor import SearchMonitor
from discrete_lightning.callbacks.sequence_logo import SequenceLogo

__all__ = [
    "ArchitectureWriter",
    "CodeWriter",
    "CodebookMonitor",
    "DesignCallback",
    "DesignTrajectory",
    "DesignWriter",
    "GradientProbe",
    "Reconstructions",
    "ScalarAnnealing",
    "SearchMonitor",
    "SequenceLogo",
    "TemperatureAnnealing",
    "WeightAnnealing",
]
