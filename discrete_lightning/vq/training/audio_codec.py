"""A codec of sounds: an autoencoder of waveforms whose latents are residual codes (Zeghidour et al. 2021,
https://arxiv.org/abs/2107.03312; Defossez et al. 2022, https://arxiv.org/abs/2210.13438)."""

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, cast

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn
from torchmetrics import Metric

from discrete_lightning.functional._arguments import check_at_least, check_positive
from discrete_lightning.layers.usage import LiveCodes
from discrete_lightning.protocols import HasSampleRate
from discrete_lightning.training.batches import examples_of
from discrete_lightning.training.per_loader import PerLoader
from discrete_lightning.training.restorable import RestorableModule
from discrete_lightning.vq.functional.mel import mel_distance
from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizers.residual import ResidualQuantizer
from discrete_lightning.vq.quantizers.vector import VectorQuantizer
from discrete_lightning.vq.sound_metrics import SIZES, MelDistance, ScaleInvariantSNR
from discrete_lightning.vq.training.codebook_updates import CodebookUpdates
from discrete_lightning.vq.training.waveform import WaveformDecoder, WaveformEncoder

_BANDS = 40


class AudioCodec(RestorableModule):
    """Sounds of any length to codes of a residual quantiser, frame by frame, and back, at as many stages as are wanted.

    loss = waveform * mean |x - y| / mean |x| + mel * distance of log-mel spectrograms + the quantiser's own loss

    Validation and test measure each number of stages: `val/si_snr_<n>` (scale-invariant signal-to-noise ratio, dB) and
    `val/mel_<n>` (MelDistance, factors of 10), those of all stages without a number; and the share of live codes.

    Args:
        quantizer: a ResidualQuantizer, with `dropout` so that every number of stages decodes. By default 8 stages of 256 codes
            with a dropout of 0.5.
        sample_rate: of the data, samples a second.
        hidden: channels of the first layer; each of `strides` doubles them.
        strides: a frame of codes stands for their product of samples; each is 2 or more.
        waveform: weight of the difference of samples, >= 0.
        mel: weight of that of spectrograms, >= 0.
        learning_rate: of Adam.

    Raises:
        ValueError: if an argument is out of its range; in `setup`, if the data module has another `sample_rate`; at a batch, if
            it does not hold samples (B, N).

    Example:
        >>> codec = AudioCodec(hidden=4).eval()
        >>> codec.encode(torch.zeros(2, 1000)).indices.shape
        torch.Size([2, 16, 8])
        >>> codec.decode(codec.encode(torch.zeros(2, 1000)).indices[..., :3]).shape  # three stages
        torch.Size([2, 1024])
    """

    def __init__(
        self,
        quantizer: ResidualQuantizer | None = None,
        sample_rate: int = 8000,
        hidden: int = 12,
        strides: Sequence[int] = (4, 4, 4),
        waveform: float = 1.0,
        mel: float = 1.0,
        learning_rate: float = 3e-3,
    ) -> None:
        super().__init__()
        check_at_least(1, hidden=hidden, sample_rate=sample_rate)
        check_positive(learning_rate=learning_rate)
        if not strides or min(strides) < 2:
            raise ValueError(f"strides are of 2 or more samples, got {list(strides)}")
        if not (waveform >= 0 and mel >= 0 and waveform + mel > 0):
            raise ValueError(f"waveform={waveform} and mel={mel} are weights >= 0, not both 0")
        if quantizer is None:
            quantizer = ResidualQuantizer(VectorQuantizer(256, 32, commitment=0.25), 8, dropout=0.5)
        if not isinstance(quantizer, ResidualQuantizer):
            raise ValueError(
                f"AudioCodec codes by the stages of a ResidualQuantizer, got {type(quantizer).__name__}: put it in one, "
                "ResidualQuantizer(quantizer, depth=1)"
            )
        self.quantizer, self.sample_rate = quantizer, sample_rate
        self.waveform, self.mel, self.learning_rate = waveform, mel, learning_rate
        self.hop = math.prod(strides)
        self.encoder = WaveformEncoder(hidden, quantizer.dim, strides)
        self.decoder = WaveformDecoder(hidden, quantizer.dim, strides)
        counted = [each.num_codes for each in quantizer.codebooks() if each.countable]
        self.val_metrics, self.test_metrics = (
            PerLoader(partial(_DepthMetrics, len(quantizer.quantizers), sample_rate, counted)) for _ in range(2)
        )

    def encode(self, samples: Tensor, depth: int | None = None) -> Quantized:
        """The codes of samples (B, N): indices (B, ceil(N / hop), depth, ...); depth None: all stages.

        Raises:
            ValueError: if they are of another shape, empty, or no floating-point numbers.
        """
        return self.quantizer(self._analyse(samples), depth=depth)

    def _analyse(self, samples: Tensor) -> Tensor:
        _check(samples, "got")
        vectors: Tensor = self.encoder(nn.functional.pad(samples, (0, -samples.shape[-1] % self.hop)))
        return vectors

    def decode(self, indices: Tensor) -> Tensor:
        """Samples (B, T * hop) of codes (B, T, stages, ...), also of the first stages alone; -1 is no code.

        Raises:
            ValueError: if the codes are of another shape or out of their range.
        """
        stages, rest = len(self.quantizer.quantizers), tuple(self.quantizer.index_shape[1:])
        shape = tuple(indices.shape)
        if len(shape) != 3 + len(rest) or shape[3:] != rest or not 1 <= shape[2] <= stages or not shape[1]:
            wanted = ", ".join(["N", "T", f"1 to {stages} stages", *map(str, rest)])
            raise ValueError(f"codes are integers of shape ({wanted}), got {indices.dtype} {shape}")
        return self._synthesise(self.quantizer.decode(indices))

    def decode_samples(self, indices: Tensor) -> Tensor:
        """As `decode`; used by the callback `Sounds` and the command `decode`."""
        return self.decode(indices)

    def _synthesise(self, vectors: Tensor) -> Tensor:
        samples: Tensor = self.decoder(vectors.to(next(self.decoder.parameters()).dtype))
        return samples

    def forward(self, samples: Tensor, depth: int | None = None) -> tuple[Tensor, Quantized]:
        """Reconstructed samples (B, N), and the codes they were made from."""
        quantized = self.encode(samples, depth)
        return self._synthesise(quantized.quantized)[..., : samples.shape[-1]], quantized

    def loss(self, output: Tensor, samples: Tensor) -> Tensor:
        """The loss of reconstruction."""
        output, samples = output.float(), samples.float()
        difference = (output - samples).abs().mean() / samples.abs().mean().clamp_min(1e-4)
        return (
            self.waveform * difference
            + self.mel * mel_distance(output, samples, self.sample_rate, SIZES, _BANDS).mean()
        )

    def samples_of(self, batch: Any) -> Tensor:
        """The samples (B, N) of a batch.

        Raises:
            ValueError: if there are none.
        """
        samples = examples_of(batch).inputs
        _check(samples, "and the data serves")
        return samples

    def setup(self, stage: str) -> None:
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, HasSampleRate) and data.sample_rate != self.sample_rate:
            raise ValueError(
                f"the model takes {self.sample_rate:,} samples a second, and {type(data).__name__} serves "
                f"{data.sample_rate:,}: give both one sample_rate (in a config model.sample_rate and data.sample_rate)"
            )

    def check_batch(self, batch: Any) -> None:
        """Compares the model with a training batch of the data; raises as `samples_of`."""
        self.samples_of(batch)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        samples = self.samples_of(batch)
        output, quantized = self(samples)
        reconstruction = self.loss(output, samples)
        loss = reconstruction + quantized.loss
        self.log("train/loss", loss, prog_bar=True)
        self.log("train/reconstruction", reconstruction.detach())
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate("val", self.samples_of(batch), dataloader_idx)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate("test", self.samples_of(batch), dataloader_idx)

    def _evaluate(self, stage: str, samples: Tensor, loader: int) -> None:
        name, stages = f"{stage}_metrics", len(self.quantizer.quantizers)
        metrics = cast(PerLoader[_DepthMetrics], getattr(self, name)).of(loader, self.device)
        target, vectors = samples.float(), self._analyse(samples)
        for depth in range(1, stages + 1):
            quantized = self.quantizer(vectors, depth=depth)
            output = self._synthesise(quantized.quantized)[..., : samples.shape[-1]]
            suffix = "" if depth == stages else f"_{depth}"
            for kind in ("si_snr", "mel"):
                metric = cast(Metric, getattr(metrics, kind)[depth - 1])
                metric.update(output.float(), target)
                where = f"{name}.{loader}.{kind}.{depth - 1}"
                self.log(
                    f"{stage}/{kind}{suffix}", metric, batch_size=len(samples), metric_attribute=where,
                    prog_bar=depth == stages,
                )  # fmt: skip
        indices = quantized.indices.flatten(2)
        for number, live in enumerate(cast(Iterable[LiveCodes], metrics.live)):
            live.update(indices[..., number])
            where = f"{name}.{loader}.live.{number}"
            self.log(f"{stage}/live_codes_{number + 1}", live, batch_size=len(samples), metric_attribute=where)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        return {"codes": self.encode(self.samples_of(batch)).indices}

    def configure_callbacks(self) -> list[Callback]:
        """What moves its codes; a Trainer has it already where the package is installed."""
        there = any(isinstance(each, CodebookUpdates) for each in self.trainer.callbacks)  # type: ignore[attr-defined]
        return [] if there else [CodebookUpdates()]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate, betas=(0.8, 0.99))


def _check(samples: Tensor, found: str) -> None:
    if samples.ndim != 2 or not samples.is_floating_point() or not samples.shape[-1]:
        advice = (
            "add a dimension of one sound, samples[None]"
            if samples.ndim == 1 and len(samples)
            else ("average channels, divide integers by their largest value, and leave out empty sounds")
        )
        raise ValueError(
            f"sounds are floating-point samples (batch, samples) in [-1, 1], {found} {samples.dtype} "
            f"{tuple(samples.shape)}: {advice}"
        )


class _DepthMetrics(nn.Module):
    """The metrics of each number of stages."""

    def __init__(self, stages: int, sample_rate: int, counted: Sequence[int]) -> None:
        super().__init__()
        self.si_snr = nn.ModuleList(ScaleInvariantSNR() for _ in range(stages))
        self.mel = nn.ModuleList(MelDistance(sample_rate, _BANDS) for _ in range(stages))
        self.live = nn.ModuleList(LiveCodes(each) for each in counted)
