"""A variational autoencoder with discrete latents (Jang et al. 2016, https://arxiv.org/abs/1611.01144)."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from discrete_lightning.functional._arguments import check_at_least, check_positive
from discrete_lightning.functional._keyed import repeated, seeded
from discrete_lightning.layers.relaxation_gap import RelaxationGap
from discrete_lightning.layers.relaxed import Relaxed
from discrete_lightning.layers.relaxed_in_eval import relaxed
from discrete_lightning.layers.temperature import LossWeight
from discrete_lightning.training.image_module import ImageModule
from discrete_lightning.training.per_loader import PerLoader

_CHUNK = 50  # samples of the bound decoded at a time


def multilayer_perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers of these widths, with a ReLU between two of them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class DiscreteVAE(ImageModule, ABC):
    """Base of CategoricalVAE and BernoulliVAE: x -> logits -> sample -> Bernoulli pixels, with an analytic KL.

        loss = E_q[-log p(x | z)] + kl_weight * KL(q(z | x) || uniform)

    The expectation is `Estimator.expectation`, so every estimator trains it, those that need the loss's value included.
    Validation and test use exact discrete draws with a fixed seed, and log the relaxation gap: their reconstruction loss minus
    that of samples as in training. It is 0 for an estimator that needs the loss's value, whose samples are discrete.

    A subclass defines `kl`, `log_ratio`, `draw` and `codes`.

    Args:
        latent: the discrete layer.
        event: shape of one example's logits.
        hidden: widths between pixels and latents; mirrored in the decoder.
        kl_weight: 1 is the evidence lower bound; a `LossWeight` that WeightAnnealing can move.
        learning_rate: of the optimiser.
        bound_samples: of the importance-weighted bound reported by the test.
        pixels: values of an image: channels * height * width.
        optimizer: "Adam" or "RAdam".

    Raises:
        ValueError: if an argument is out of its range; at the first batch, if images do not have `pixels` values in [0, 1].
    """

    def __init__(
        self,
        latent: Relaxed,
        event: Sequence[int],
        hidden: Sequence[int] = (512, 256),
        kl_weight: float = 1.0,
        learning_rate: float = 1e-3,
        bound_samples: int = 1000,
        pixels: int = 784,
        optimizer: Literal["Adam", "RAdam"] = "Adam",
    ) -> None:
        super().__init__()
        if optimizer not in ("Adam", "RAdam"):
            raise ValueError(f"optimizer must be 'Adam' or 'RAdam', got {optimizer!r}")
        check_at_least(
            1, bound_samples=bound_samples, pixels=pixels, **{f"hidden[{i}]": each for i, each in enumerate(hidden)}
        )
        check_positive(learning_rate=learning_rate)
        self.latent, self.event = latent, tuple(event)
        size = math.prod(event)
        self.pixels = pixels
        self.encoder = multilayer_perceptron([pixels, *hidden, size])
        self.decoder = multilayer_perceptron([size, *reversed(hidden), pixels])
        self.kl_weight = LossWeight(kl_weight)
        self.learning_rate, self.bound_samples, self.optimizer = learning_rate, bound_samples, optimizer
        self.val_gap, self.test_gap = PerLoader(RelaxationGap), PerLoader(RelaxationGap)

    @abstractmethod
    def kl(self, logits: Tensor) -> Tensor:
        """KL(q || uniform prior) of each example, (B,)."""

    @abstractmethod
    def log_ratio(self, sample: Tensor, logits: Tensor) -> Tensor:
        """Log p(z) - log q(z | x) of discrete samples (..., B, *event), as (..., B)."""

    @abstractmethod
    def codes(self, sample: Tensor) -> Tensor:
        """Integer codes (B, latents) of discrete samples."""

    def logits(self, images: Tensor) -> Tensor:
        """Logits (B, *event) of images (B, C, H, W)."""
        return self.encoder(images.flatten(1)).unflatten(1, self.event)

    def pixel_logits(self, sample: Tensor) -> Tensor:
        """Log-odds of the pixels, (..., B, pixels), of samples (..., B, *event)."""
        return self.decoder(sample.flatten(-len(self.event)))

    def negative_log_likelihood(self, sample: Tensor, images: Tensor) -> Tensor:
        """-log p(x | z) in nats, float32 (..., B)."""
        logits = self.pixel_logits(sample).float()
        target = images.flatten(1).float().expand_as(logits)
        return nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(-1)

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities of the pixels, shaped like `images`: through a sample in training, through the mode in eval()."""
        return torch.sigmoid(self.pixel_logits(self.latent(self.logits(images)))).view_as(images)

    def reconstruct(self, images: Tensor) -> Tensor:
        """The reconstructions of images, in [0, 1]."""
        return self(images)

    def check_shape(self, images: Tensor) -> None:
        if images[:1].numel() != self.pixels * len(images[:1]):
            shape = " x ".join(map(str, images.shape[1:]))
            raise ValueError(
                f"the model takes images of {self.pixels} values, and the data serves {shape} = {math.prod(images.shape[1:])}: "
                f"set pixels={math.prod(images.shape[1:])} (model.pixels in a config), or resize the images"
            )

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images, _ = self.examples(batch, batch_idx)
        logits = self.logits(images)
        reconstruction = self.latent.expectation(lambda z: self.negative_log_likelihood(z, images), logits).mean()
        kl = self.kl(logits).mean()
        loss = reconstruction + self.kl_weight() * kl
        self.log("train/loss", loss, prog_bar=True)
        self.log(
            "train/negative_elbo",
            reconstruction + kl,
            on_step=False,
            on_epoch=True,
            sync_dist=True,
            batch_size=len(images),
        )
        self.log("train/reconstruction", reconstruction)
        self.log("train/kl", kl, prog_bar=True)
        return loss

    def enumerate_loss(self, batch: Any) -> tuple[Relaxed, Tensor, Callable[[Tensor], Tensor]]:
        """What GradientProbe needs for the exact gradient of a small latent space."""
        images, _ = self.examples(batch)
        return self.latent, self.logits(images), lambda sample: self.negative_log_likelihood(sample, images)

    def bound(self, images: Tensor, samples: int, seed: int = 0) -> Tensor:
        """-log (1/M) sum_m p(x | z_m) p(z_m) / q(z_m | x) with exact discrete draws z_m ~ q: an upper bound of the negative
        log-likelihood in nats, tighter with more samples (Burda et al. 2015, https://arxiv.org/abs/1509.00519). M = 1 gives
        a one-sample estimate of the negative ELBO.

        Args:
            images: (B, C, H, W).
            samples: M >= 1.
            seed: of the draws.

        Returns:
            float32 (B,).
        """
        generator = seeded(images.device, seed)
        logits = self.logits(images)
        weights = []
        for start in range(0, samples, _CHUNK):
            count = min(_CHUNK, samples - start)
            sample = self.draw(logits.expand(count, *logits.shape), repeated(generator, count))
            weights.append(self.log_ratio(sample, logits) - self.negative_log_likelihood(sample, images))
        return math.log(samples) - torch.cat(weights).logsumexp(0)

    @abstractmethod
    def draw(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        """Exact discrete draws of the logits' shape."""

    def _evaluate(self, stage: str, images: Tensor, batch_idx: int, loader: int) -> None:
        name, size = f"{stage}_gap", len(images)
        gap = cast(PerLoader[RelaxationGap], getattr(self, name)).of(loader, self.device)
        logits = self.logits(images)
        kl = self.kl(logits)
        generator = seeded(images.device, batch_idx)
        discrete = self.negative_log_likelihood(self.draw(logits, generator), images)
        gap.update(relaxed=self._loss_as_in_training(logits, images, discrete, seed=batch_idx), discrete=discrete)
        self.log(f"{stage}/negative_elbo", (discrete + kl).mean(), batch_size=size, sync_dist=True, prog_bar=True)
        self.log(f"{stage}/kl", kl.mean(), batch_size=size, sync_dist=True)
        self.log(f"{stage}/relaxation_gap", gap, batch_size=size, metric_attribute=f"{name}.{loader}")

    def _loss_as_in_training(self, logits: Tensor, images: Tensor, discrete: Tensor, seed: int) -> Tensor:
        if not self.latent.estimator.pathwise:
            return discrete  # it trains with discrete draws
        with relaxed(self, seed=seed):
            return self.negative_log_likelihood(self.latent(logits), images)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate("val", self.examples(batch, batch_idx).inputs, batch_idx, dataloader_idx)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        images, _ = self.examples(batch, batch_idx)
        self._evaluate("test", images, batch_idx, dataloader_idx)
        bound = self.bound(images, self.bound_samples, seed=batch_idx).mean()
        self.log(f"test/bound_{self.bound_samples}", bound, batch_size=len(images), sync_dist=True)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        images, labels = self.examples(batch, batch_idx)
        codes = self.codes(self.latent(self.logits(images)))
        return {"codes": codes} | ({} if labels is None else {"labels": labels})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        kind = torch.optim.Adam if self.optimizer == "Adam" else torch.optim.RAdam
        return kind(self.parameters(), lr=self.learning_rate)
