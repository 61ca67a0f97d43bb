"""An autoencoder whose latents are codes of a codebook (van den Oord et al. 2017, https://arxiv.org/abs/1711.00937)."""

from typing import NamedTuple

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from discrete_lightning.estimators import Estimator
from discrete_lightning.functional import perplexity
from discrete_lightning.losses import EntropyBonus, choice_entropy, marginal_entropy
from discrete_lightning.metrics import CodePerplexity, LiveCodes, RelaxationGap
from discrete_lightning.models.convolutional import ConvolutionalDecoder, ConvolutionalEncoder
from discrete_lightning.nn import Codebook, GumbelQuantizer, Quantized, Temperature, relaxed, use_estimator

Batch = tuple[Tensor, Tensor]


class Reconstruction(NamedTuple):
    """What a forward pass gives: images, and the codes they were made from."""

    images: Tensor
    quantized: Quantized


class VQAutoencoder(LightningModule):
    """Convolutional autoencoder through a codebook: images to a grid of codes, and back.

    loss = mean squared error + the quantiser's own loss - choice_entropy * H(choice) - marginal_entropy * H(marginal)

    Subclass it to change a part: `encoder` and `decoder` are modules, `quantizer` is any Codebook, `loss` is a method.

    Args:
        quantizer: any Codebook; its `dim` is the dimension of the encoder's output. GumbelQuantizer(128, 64) by default.
        estimator: given to the quantiser's sampling layers; leave it out for a quantiser that does not sample.
        choice_entropy: weight of the bonus for undecided choices (exploration); a `Weight` that WeightAnnealing can move.
        marginal_entropy: weight of the bonus for using all codes.
        channels: of the images.
        hidden: width of the convolutions.
        learning_rate: of Adam.

    Raises:
        ValueError: if the quantiser cannot use an argument (an estimator, an entropy bonus).

    Example:
        >>> model = VQAutoencoder(GumbelQuantizer(num_codes=16, dim=8), hidden=8)
        >>> model.eval().encode(torch.rand(2, 1, 28, 28)).indices.shape
        torch.Size([2, 7, 7])
    """

    def __init__(
        self,
        quantizer: Codebook | None = None,
        estimator: Estimator | None = None,
        choice_entropy: float = 0.0,
        marginal_entropy: float = 0.0,
        channels: int = 1,
        hidden: int = 64,
        learning_rate: float = 2e-3,
    ) -> None:
        super().__init__()
        self.quantizer = GumbelQuantizer(num_codes=128, dim=64) if quantizer is None else quantizer
        if estimator is not None:
            use_estimator(self.quantizer, estimator)
        if (choice_entropy or marginal_entropy) and not self.quantizer.has_logits:
            raise ValueError(
                f"{type(self.quantizer).__name__} has no logits, so choice_entropy={choice_entropy} and "
                f"marginal_entropy={marginal_entropy} have nothing to act on; leave them at 0 or take GumbelQuantizer"
            )
        self.bonus = EntropyBonus(choice_entropy, marginal_entropy)
        self.learning_rate = learning_rate
        dim, num_codes = self.quantizer.dim, self.quantizer.num_codes
        self.encoder = ConvolutionalEncoder(channels, hidden, dim)
        self.decoder = ConvolutionalDecoder(channels, hidden, dim)
        self.val_metrics, self.test_metrics = _StageMetrics(num_codes), _StageMetrics(num_codes)

    def encode(self, images: Tensor) -> Quantized:
        """The codes of images (B, C, H, W): a grid of indices (B, H / 4, W / 4)."""
        return self.quantizer(self.encoder(images))

    def decode(self, indices: Tensor) -> Tensor:
        """Images of int64 code grids (B, h, w)."""
        vectors = self.quantizer.decode(indices)
        return self.decoder(vectors.to(next(self.decoder.parameters()).dtype))

    def forward(self, images: Tensor) -> Reconstruction:
        quantized = self.encode(images)
        return Reconstruction(self.decoder(quantized.quantized), quantized)

    def reconstruct(self, images: Tensor) -> Tensor:
        """What comes back of images, clamped to [0, 1]."""
        return self(images).images.clamp(0, 1)

    def reconstruction_error(self, images: Tensor, target: Tensor) -> Tensor:
        """Mean squared error of each image, float32 (B,)."""
        return (images.float() - target.float()).square().flatten(1).mean(1)

    def loss(self, output: Reconstruction, images: Tensor) -> Tensor:
        """The training loss of a batch."""
        loss = self.reconstruction_error(output.images, images).mean() + output.quantized.loss
        if output.quantized.logits is not None:
            loss = loss + self.bonus(output.quantized.logits, self._learned_temperature())
        return loss

    def _learned_temperature(self) -> Tensor | float:
        """The temperature that the entropy bonus may raise; 1 where there is none to learn."""
        learned = [each for each in self.quantizer.modules() if isinstance(each, Temperature) and each.learnable]
        return learned[0]() if learned else 1.0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        output = self(images)
        loss = self.loss(output, images)
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if (self.global_step + 1) % max(1, every) == 0:  # a tenth of a step's time: only for the rows that get written
            self._log_training(loss, output, images)
        return loss

    def _log_training(self, loss: Tensor, output: Reconstruction, images: Tensor) -> None:
        quantized = output.quantized
        counts = torch.bincount(quantized.indices.flatten(), minlength=self.quantizer.num_codes)
        self.log("train/loss", loss, prog_bar=True)
        self.log("train/perplexity", perplexity(counts), prog_bar=True)
        self.log("train/reconstruction", self.reconstruction_error(output.images.detach(), images).mean())
        if quantized.logits is not None:
            self.log("train/choice_entropy", choice_entropy(quantized.logits.detach()))
            self.log("train/marginal_entropy", marginal_entropy(quantized.logits.detach()))
        if isinstance(learned := self._learned_temperature(), Tensor):
            self.log("temperature", learned.detach(), prog_bar=True)  # an annealed one is logged by its callback

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate("val", self.val_metrics, batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate("test", self.test_metrics, batch)

    def _evaluate(self, stage: str, metrics: "_StageMetrics", batch: Batch) -> None:
        images, _ = batch
        output = self(images)
        error = self.reconstruction_error(output.images, images)
        self.log(f"{stage}/reconstruction", error.mean(), batch_size=len(images), sync_dist=True, prog_bar=True)
        metrics.perplexity.update(output.quantized.indices)
        metrics.live.update(output.quantized.indices)
        self.log(f"{stage}/perplexity", metrics.perplexity, batch_size=len(images))
        self.log(f"{stage}/live_codes", metrics.live, batch_size=len(images))
        if self.quantizer.has_logits:
            with relaxed(self):
                gap_to = self.reconstruction_error(self(images).images, images)
            metrics.gap.update(relaxed=gap_to, discrete=error)
            self.log(f"{stage}/relaxation_gap", metrics.gap, batch_size=len(images))

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        images, labels = batch
        return {"codes": self.encode(images).indices, "labels": labels}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)


class _StageMetrics(nn.Module):
    def __init__(self, num_codes: int) -> None:
        super().__init__()
        self.perplexity, self.live = CodePerplexity(num_codes), LiveCodes(num_codes)
        self.gap = RelaxationGap()
