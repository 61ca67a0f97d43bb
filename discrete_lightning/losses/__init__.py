"""Loss terms of discrete models."""

from discrete_lightning.functional import commitment_loss
from discrete_lightning.losses.code_diversity import CodeDiversity, code_diversity
from discrete_lightning.losses.entropy_bonus import (
    EntropyBonus,
    choice_entropy,
    marginal_distribution,
    marginal_entropy,
)
from discrete_lightning.losses.kl_to_prior import KLToPrior, kl_to_prior

__all__ = [
    "CodeDiversity",
    "EntropyBonus",
    "KLToPrior",
    "choice_entropy",
    "code_diversity",
    "commitment_loss",
    "kl_to_prior",
    "marginal_distribution",
    "marginal_entropy",
]
