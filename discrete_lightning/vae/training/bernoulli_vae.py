"""The VAE with 200 binary latents of Jang et al. 2016, section 4.2 (https://arxiv.org/abs/1611.01144)."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from discrete_lightning.estimators import Estimator
from discrete_lightning.functional import gumbel_sigmoid
from discrete_lightning.layers.relaxed import RelaxedBernoulli
from discrete_lightning.vae.kl_to_prior import kl_to_prior
from discrete_lightning.vae.training.discrete_vae import DiscreteVAE


class BernoulliVAE(DiscreteVAE):
    """A VAE with binary latents, given by one log-odds each, and a uniform prior.

    Args:
        latents: number of binary latent variables.
        estimator: its binary counterpart is used; StraightThroughGumbel by default.
        temperature: at the start; TemperatureAnnealing moves it.
        hidden, kl_weight, learning_rate, bound_samples, pixels, optimizer: see DiscreteVAE.

    Example:
        >>> model = BernoulliVAE(latents=8, hidden=[16])
        >>> model.bound(torch.rand(2, 1, 28, 28).round(), samples=10).shape
        torch.Size([2])
    """

    def __init__(
        self,
        latents: int = 200,
        estimator: Estimator | None = None,
        temperature: float = 1.0,
        hidden: Sequence[int] = (512, 256),
        kl_weight: float = 1.0,
        learning_rate: float = 1e-3,
        bound_samples: int = 1000,
        pixels: int = 784,
        optimizer: Literal["Adam", "RAdam"] = "Adam",
    ) -> None:
        if latents < 1:
            raise ValueError(f"BernoulliVAE needs latents >= 1, got {latents}")
        latent = RelaxedBernoulli(estimator, temperature)
        super().__init__(latent, (latents,), hidden, kl_weight, learning_rate, bound_samples, pixels, optimizer)
        self.log_prior = -latents * math.log(2.0)

    def kl(self, logits: Tensor) -> Tensor:
        return kl_to_prior(self.latent.scores(logits), binary=True)

    def log_ratio(self, sample: Tensor, logits: Tensor) -> Tensor:
        odds = self.latent.scores(logits).float().clamp(-1e30, 1e30).expand_as(sample)
        log_q = -nn.functional.binary_cross_entropy_with_logits(odds, sample.float(), reduction="none").sum(-1)
        return self.log_prior - log_q

    def draw(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        return gumbel_sigmoid(self.latent.scores(logits.detach()), hard=True, generator=generator).to(logits.dtype)

    def codes(self, sample: Tensor) -> Tensor:
        return sample.to(torch.int64)
