"""Loss terms of discrete models."""

from discrete_lightning.functional import commitment_loss
from discrete_lightning.losses.entropy_bonus import EntropyBonus, choice_entropy, marginal_entropy
from discrete_lightning.losses.kl_to_prior import KLToPrior, kl_to_prior

__all__ = ["EntropyBonus", "KLToPrior", "choice_entropy", "commitment_loss", "kl_to_prior", "marginal_entropy"]
