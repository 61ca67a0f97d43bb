"""LightningModules: one recipe family a file, ready to run and to subclass."""

from discrete_lightning.models.bernoulli_vae import BernoulliVAE
from discrete_lightning.models.categorical_vae import CategoricalVAE
from discrete_lightning.models.discrete_vae import DiscreteVAE
from discrete_lightning.models.sequence_designer import SequenceDesigner
from discrete_lightning.models.vq_autoencoder import Reconstruction, VQAutoencoder

__all__ = ["BernoulliVAE", "CategoricalVAE", "DiscreteVAE", "Reconstruction", "SequenceDesigner", "VQAutoencoder"]
