"""The categorical VAE of Jang et al. 2016, section 4.2 (https://arxiv.org/abs/1611.01144)."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from discrete_lightning.estimators import Estimator
from discrete_lightning.functional import categorical_one_hot
from discrete_lightning.layers.relaxed import RelaxedCategorical
from discrete_lightning.vae.kl_to_prior import kl_to_prior
from discrete_lightning.vae.training.discrete_vae import DiscreteVAE


class CategoricalVAE(DiscreteVAE):
    """A VAE with `latents` categorical variables of `categories` categories each, and a uniform prior.

    Args:
        latents: number of latent variables.
        categories: K >= 2.
        estimator: StraightThroughGumbel by default.
        temperature: at the start; TemperatureAnnealing moves it.
        hidden, kl_weight, learning_rate, bound_samples, pixels, optimizer: see DiscreteVAE.

    Example:
        >>> model = CategoricalVAE(latents=4, categories=3, hidden=[16])
        >>> model.bound(torch.rand(2, 1, 28, 28).round(), samples=10).shape
        torch.Size([2])
    """

    def __init__(
        self,
        latents: int = 20,
        categories: int = 10,
        estimator: Estimator | None = None,
        temperature: float = 1.0,
        hidden: Sequence[int] = (512, 256),
        kl_weight: float = 1.0,
        learning_rate: float = 1e-3,
        bound_samples: int = 1000,
        pixels: int = 784,
        optimizer: Literal["Adam", "RAdam"] = "Adam",
    ) -> None:
        if latents < 1 or categories < 2:
            raise ValueError(f"CategoricalVAE needs latents >= 1 and categories >= 2, got {latents} and {categories}")
        latent = RelaxedCategorical(estimator, temperature)
        super().__init__(
            latent, (latents, categories), hidden, kl_weight, learning_rate, bound_samples, pixels, optimizer
        )
        self.log_prior = -latents * math.log(categories)

    def kl(self, logits: Tensor) -> Tensor:
        return kl_to_prior(self.latent.scores(logits))

    def log_ratio(self, sample: Tensor, logits: Tensor) -> Tensor:
        log_q = torch.log_softmax(self.latent.scores(logits).float(), -1).clamp_min(-1e30)  # 0 * -inf would be NaN
        return self.log_prior - (sample.float() * log_q).sum((-2, -1))

    def draw(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        return categorical_one_hot(self.latent.scores(logits), generator=generator).to(logits.dtype)

    def codes(self, sample: Tensor) -> Tensor:
        return sample.argmax(-1)
