"""Variational autoencoders with discrete latents. Their Lightning part is `discrete_lightning.vae.training`."""

from discrete_lightning.vae.kl_to_prior import KLToPrior, kl_to_prior

__all__ = ["KLToPrior", "kl_to_prior"]
