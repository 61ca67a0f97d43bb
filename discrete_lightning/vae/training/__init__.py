"""Variational autoencoders with discrete latents, as LightningModules."""

from discrete_lightning.vae.training.bernoulli_vae import BernoulliVAE
from discrete_lightning.vae.training.categorical_vae import CategoricalVAE
from discrete_lightning.vae.training.discrete_vae import DiscreteVAE

__all__ = ["BernoulliVAE", "CategoricalVAE", "DiscreteVAE"]
