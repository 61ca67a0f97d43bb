"""An autoencoder whose latents are codes of a codebook (van den Oord et al. 2017, https://arxiv.org/abs/1711.00937)."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from discrete_lightning.estimators import Estimator
from discrete_lightning.functional import perplexity
from discrete_lightning.functional._arguments import check_at_least, check_positive
from discrete_lightning.layers.diversity import CodeDiversity
from discrete_lightning.layers.entropy_bonus import EntropyBonus, choice_entropy, marginal_entropy
from discrete_lightning.layers.relaxation_gap import RelaxationGap
from discrete_lightning.layers.relaxed_in_eval import relaxed
from discrete_lightning.layers.temperature import Temperature
from discrete_lightning.layers.usage import CodePerplexity, LiveCodes, count_indices
from discrete_lightning.layers.use_estimator import use_estimator
from discrete_lightning.training.image_module import ImageModule
from discrete_lightning.training.per_loader import PerLoader
from discrete_lightning.vq.quantized import PADDING, Quantized
from discrete_lightning.vq.quantizer import Codebook, Quantizer
from discrete_lightning.vq.quantizers.gumbel import GumbelQuantizer
from discrete_lightning.vq.quantizers.residual import ResidualQuantizer
from discrete_lightning.vq.quantizers.sampled import SampledCodebook
from discrete_lightning.vq.training.codebook_updates import CodebookUpdates
from discrete_lightning.vq.training.convolutional import ConvolutionalDecoder, ConvolutionalEncoder


class Reconstruction(NamedTuple):
    """What a forward pass gives: images, and the codes they were made from."""

    images: Tensor
    quantized: Quantized


class VQAutoencoder(ImageModule):
    """Convolutional autoencoder through a codebook: images to a grid of codes, and back.

    loss = mean squared error + the quantiser's own loss - choice_entropy * H(choice) - marginal_entropy * H(marginal)
           + diversity * (1 - exp(H(marginal)) / K)

    Subclass it to change a part: `encoder` and `decoder` are modules, `quantizer` is any Quantizer, `loss` is a method.

    Args:
        quantizer: any Quantizer; its `dim` is the dimension of the encoder's output. GumbelQuantizer(128, 64) by default.
        estimator: given to the quantiser's sampling layers; leave it out for a quantiser that does not sample.
        choice_entropy: weight of the bonus for undecided choices (exploration); a `LossWeight` that WeightAnnealing can move.
        marginal_entropy: weight of the bonus for using all codes.
        diversity: weight of the loss for using few of them (Baevski et al. 2020, eq. 4; https://arxiv.org/abs/2006.11477).
        channels: of the images.
        hidden: width of the convolutions, 2 or more.
        learning_rate: of Adam.

    Raises:
        ValueError: if an argument is out of its range, or the quantiser cannot use it (an estimator, an entropy bonus); at the
            first batch, if images are not (B, channels, H, W) in [0, 1] with H and W multiples of 4.

    Example:
        >>> model = VQAutoencoder(GumbelQuantizer(num_codes=16, dim=8), hidden=8)
        >>> model.eval().encode(torch.rand(2, 1, 28, 28)).indices.shape
        torch.Size([2, 7, 7])
    """

    def __init__(
        self,
        quantizer: Quantizer | None = None,
        estimator: Estimator | None = None,
        choice_entropy: float = 0.0,
        marginal_entropy: float = 0.0,
        diversity: float = 0.0,
        channels: int = 1,
        hidden: int = 64,
        learning_rate: float = 2e-3,
    ) -> None:
        super().__init__()
        check_at_least(1, channels=channels)
        check_at_least(2, hidden=hidden)  # a layer has half of it
        check_positive(learning_rate=learning_rate)
        self.quantizer = GumbelQuantizer(num_codes=128, dim=64) if quantizer is None else quantizer
        if estimator is not None:
            use_estimator(self.quantizer, estimator)
        if (choice_entropy or marginal_entropy or diversity) and not self.quantizer.has_logits:
            raise ValueError(
                f"{type(self.quantizer).__name__} has no logits, so choice_entropy={choice_entropy}, "
                f"marginal_entropy={marginal_entropy} and diversity={diversity} have nothing to act on; leave them at 0 or "
                "take GumbelQuantizer"
            )
        separate = len(self.quantizer.index_shape)
        self.bonus = EntropyBonus(choice_entropy, marginal_entropy, separate)
        self.diversity = CodeDiversity(diversity, separate) if diversity else None  # a softmax over all logits a step
        self.learning_rate = learning_rate
        self.encoder = ConvolutionalEncoder(channels, hidden, self.quantizer.dim)
        self.decoder = ConvolutionalDecoder(channels, hidden, self.quantizer.dim)
        counted = [codebook.num_codes for codebook in self.quantizer.codebooks() if codebook.countable]
        self.val_metrics = PerLoader(partial(_StageMetrics, counted))
        self.test_metrics = PerLoader(partial(_StageMetrics, counted))

    def encode(self, images: Tensor) -> Quantized:
        """The codes of images (B, C, H, W): a grid of indices (B, H / 4, W / 4, *index_shape)."""
        return self.quantizer(self.encoder(images))

    def decode(self, indices: Tensor) -> Tensor:
        """Images of code grids (B, h, w, *index_shape), of any integer dtype; -1 is no code.

        Of a ResidualQuantizer the first n stages are enough: (B, h, w, n).

        Raises:
            ValueError: if the grids are not integers, or of another shape, or hold a code that does not exist.
        """
        self._check_codes(indices)
        vectors = self.quantizer.decode(indices)
        return self.decoder(vectors.to(next(self.decoder.parameters()).dtype))

    def decode_indices(self, indices: Tensor) -> Tensor:
        """Codes to images, as `decode`; used by `CodebookMonitor` and the command `decode`."""
        return self.decode(indices)

    def _check_codes(self, indices: Tensor) -> None:
        shape, given = self.quantizer.index_shape, tuple(indices.shape[3:])
        if isinstance(self.quantizer, ResidualQuantizer) and len(given) == len(shape) and 1 <= given[0] < shape[0]:
            shape = (given[0], *shape[1:])  # the first stages
        if indices.is_floating_point() or indices.ndim != 3 + len(shape) or given != shape:
            wanted = ", ".join(["N", "h", "w", *map(str, self.quantizer.index_shape)])
            raise ValueError(f"codes are integers of shape ({wanted}), got {indices.dtype} {tuple(indices.shape)}")
        if indices.device.type == "cpu" and indices.numel():
            for name, codebook, column in _each_codebook(self.quantizer, indices):
                low, high = int(column.min()), int(column.max())
                if low < PADDING or high >= codebook.num_codes:
                    raise ValueError(
                        f"codes of codebook{name or ' 0'} lie in [0, {codebook.num_codes - 1}], or are {PADDING} for no code; "
                        f"got {low} to {high}: are they of another model?"
                    )

    def forward(self, images: Tensor) -> Reconstruction:
        quantized = self.encode(images)
        return Reconstruction(self.decoder(quantized.quantized), quantized)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Reconstructions of images, clamped to [0, 1]."""
        return self(images).images.clamp(0, 1)

    def reconstruction_error(self, images: Tensor, target: Tensor) -> Tensor:
        """Mean squared error of each image, float32 (B,)."""
        return (images.float() - target.float()).square().flatten(1).mean(1)

    def loss(self, output: Reconstruction, images: Tensor) -> Tensor:
        """The training loss of a batch."""
        loss = self.reconstruction_error(output.images, images).mean() + output.quantized.loss
        if output.quantized.logits is not None:
            logits = output.quantized.logits
            loss = loss + self.bonus(logits, self._learned_temperature(), held=self._held(logits))
            if self.diversity is not None:
                loss = loss + self.diversity(logits)
        return loss

    def _learned_temperature(self) -> Tensor | float:
        """The temperatures that the entropy bonus may raise, as divisors of the logits: (*index_shape, 1), or 0-dim of a single
        codebook. 1 where nothing is learned."""
        learned = [_learned(codebook) for codebook in self.quantizer.codebooks()]
        if all(each is None for each in learned):
            return 1.0
        values = [torch.ones((), device=self.device) if each is None else each() for each in learned]
        shape = self.quantizer.index_shape
        return torch.stack(values).view(*shape, 1) if shape else values[0]

    def _held(self, logits: Tensor) -> Tensor | bool:
        """The codebooks whose logits get no gradient of the bonus for undecided choices: (*index_shape, 1), or one for all."""
        held = [isinstance(each, SampledCodebook) and each.holds_logits for each in self.quantizer.codebooks()]
        if all(held) or not any(held):
            return held[0]
        values = [torch.full((), each, device=logits.device) for each in held]  # made there: no copy to wait for
        return torch.stack(values).view(*self.quantizer.index_shape, 1)

    def configure_callbacks(self) -> list[Callback]:
        """What moves its codes; a Trainer has it already where the package is installed."""
        there = any(isinstance(each, CodebookUpdates) for each in self.trainer.callbacks)  # type: ignore[attr-defined]
        return [] if there else [CodebookUpdates()]

    def check_shape(self, images: Tensor) -> None:
        if isinstance(self.encoder, ConvolutionalEncoder):  # a subclass's own encoder has its own limits
            self.encoder.check_shape(images)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images, _ = self.examples(batch, batch_idx)
        output = self(images)
        loss = self.loss(output, images)
        self.log("train/loss", loss, prog_bar=True)
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        written = (self.global_step + 1) % max(1, every) == 0
        # costs a tenth of a step; the first and the last batch, so that callbacks find the values in every epoch
        if written or batch_idx == 0 or self.trainer.is_last_batch:
            self._log_training(output, images)
        return loss

    def _log_training(self, output: Reconstruction, images: Tensor) -> None:
        quantized = output.quantized
        for name, codebook, indices in _each_codebook(self.quantizer, quantized.indices):
            counts = count_indices(
                indices, codebook.num_codes, mask=indices >= 0
            )  # -1 where quantiser dropout left it out
            self.log(f"train/perplexity{name}", perplexity(counts), prog_bar=not name)
        self.log("train/reconstruction", self.reconstruction_error(output.images.detach(), images).mean())
        if quantized.logits is not None:
            self.log("train/choice_entropy", choice_entropy(quantized.logits.detach()))
            self.log("train/marginal_entropy", marginal_entropy(quantized.logits.detach(), self.bonus.separate))
        learned = {
            name: each for name, each in self.named_modules() if isinstance(each, Temperature) and each.learnable
        }
        for name, each in learned.items():  # one that is annealed is logged by its callback
            label = "temperature" if len(learned) == 1 else f"temperature/{name}"
            self.log(label, each().detach(), prog_bar=len(learned) == 1)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate("val", self.examples(batch, batch_idx).inputs, dataloader_idx)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate("test", self.examples(batch, batch_idx).inputs, dataloader_idx)

    def _evaluate(self, stage: str, images: Tensor, loader: int) -> None:
        name = f"{stage}_metrics"
        metrics = cast(PerLoader[_StageMetrics], getattr(self, name)).of(loader, self.device)
        output = self(images)
        error = self.reconstruction_error(output.images, images)
        self.log(f"{stage}/reconstruction", error.mean(), batch_size=len(images), sync_dist=True, prog_bar=True)
        each = _each_codebook(self.quantizer, output.quantized.indices)
        for i, ((suffix, _, indices), (code_perplexity, live)) in enumerate(zip(each, metrics.usage(), strict=True)):
            for label, kind, metric in (("perplexity", "perplexity", code_perplexity), ("live_codes", "live", live)):
                metric.update(indices)
                where = f"{name}.{loader}.{kind}.{i}"
                self.log(f"{stage}/{label}{suffix}", metric, batch_size=len(images), metric_attribute=where)
        if self.quantizer.has_logits:
            with relaxed(self):
                gap_to = self.reconstruction_error(self(images).images, images)
            metrics.gap.update(relaxed=gap_to, discrete=error)
            where = f"{name}.{loader}.gap"
            self.log(f"{stage}/relaxation_gap", metrics.gap, batch_size=len(images), metric_attribute=where)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        images, labels = self.examples(batch, batch_idx)
        return {"codes": self.encode(images).indices} | ({} if labels is None else {"labels": labels})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)


def _learned(codebook: Codebook) -> Temperature | None:
    found = [each for each in codebook.modules() if isinstance(each, Temperature) and each.learnable]
    return found[0] if found else None


class _StageMetrics(nn.Module):
    def __init__(self, counted: Sequence[int]) -> None:
        super().__init__()
        self.perplexity = nn.ModuleList(CodePerplexity(num_codes) for num_codes in counted)
        self.live = nn.ModuleList(LiveCodes(num_codes) for num_codes in counted)
        self.gap = RelaxationGap()

    def usage(self) -> list[tuple[CodePerplexity, LiveCodes]]:
        """The metrics of each codebook."""
        return cast(list[tuple[CodePerplexity, LiveCodes]], list(zip(self.perplexity, self.live, strict=True)))


def _each_codebook(quantizer: Quantizer, indices: Tensor) -> list[tuple[str, Codebook, Tensor]]:
    """The single codebooks whose codes can be counted: a suffix for names ("" for the only one), and its indices."""
    codebooks = list(quantizer.codebooks())
    if shape := quantizer.index_shape:  # a residual stack may have the indices of its first stages alone
        codebooks = codebooks[: len(codebooks) * indices.shape[indices.ndim - len(shape)] // shape[0]]
    each = enumerate(zip(codebooks, indices.reshape(-1, len(codebooks)).unbind(-1), strict=True))
    return [(f"/{i}" if len(codebooks) > 1 else "", book, column) for i, (book, column) in each if book.countable]
