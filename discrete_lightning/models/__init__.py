"""LightningModules: one recipe family a file, ready to run and to subclass."""

from discrete_lightning.models.architecture_search import ArchitectureSearch
from discrete_lightning.models.architecture_training import ArchitectureTraining
from discrete_lightning.models.bernoulli_vae import BernoulliVAE
from discrete_lightning.models.categorical_vae import CategoricalVAE
from discrete_lightning.models.discrete_vae import DiscreteVAE
from discrete_lightning.models.search_method import DARTS, GDAS, SNAS, Sampled, SearchMethod, SecondOrderDARTS
from discrete_lightning.models.search_settings import CostTarget, SearchOptimizers
from discrete_lightning.models.sequence_designer import SequenceDesigner
from discrete_lightning.models.vq_autoencoder import Reconstruction, VQAutoencoder

__all__ = [
    "DARTS",
    "GDAS",
    "SNAS",
    "ArchitectureSearch",
    "ArchitectureTraining",
    "BernoulliVAE",
    "CategoricalVAE",
    "CostTarget",
    "DiscreteVAE",
    "Reconstruction",
    "Sampled",
    "SearchMethod",
    "SearchOptimizers",
    "SecondOrderDARTS",
    "SequenceDesigner",
    "VQAutoencoder",
]
