"""Sounds to listen to: recordings beside their reconstructions at several bit rates."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from discrete_lightning.protocols import DecodesSounds
from discrete_lightning.storage.wav import write_wav
from discrete_lightning.training.atomic_write import atomic_write
from discrete_lightning.training.batches import examples_of
from discrete_lightning.training.pictures import never_ends_a_run
from discrete_lightning.training.run_files import fresh_path, output_folder


@runtime_checkable
class CodesSounds(DecodesSounds, Protocol):
    """A model of sounds, such as AudioCodec, with the quantiser whose stages are counted."""

    def encode(self, samples: Tensor, depth: int | None = None) -> Any:
        """What has the `indices` of samples (B, N)."""


class Sounds(Callback):
    """Writes the first validation recordings and their reconstructions as WAV files when fitting ends.

    `sounds/1-original.wav`, `sounds/1-stages-8.wav` and so on, in the run's folder; an existing file is not overwritten. A file
    that cannot be written is a warning.

    Args:
        count: of recordings.
        depths: numbers of stages; those that the model lacks are left out.

    Raises:
        ValueError: count or a depth is less than 1.
        TypeError: in setup, if the module has no `encode` and `decode_samples`.
    """

    def __init__(self, count: int = 3, depths: Sequence[int] = (1, 2, 4, 8)) -> None:
        if count < 1 or not depths or min(depths) < 1:
            raise ValueError(f"Sounds needs a count and depths of 1 or more, got count={count}, depths={list(depths)}")
        self.count, self.depths = count, list(depths)
        self._recordings: list[Tensor] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, CodesSounds):
            raise TypeError(
                f"Sounds needs `sample_rate`, `encode(samples)` and `decode_samples(indices)`, which "
                f"{type(pl_module).__name__} does not have; define them or leave the callback out"
            )

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._recordings = []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        missing = self.count - len(self._recordings)
        if trainer.is_global_zero and not dataloader_idx and missing > 0:
            self._recordings += [each.detach().cpu() for each in examples_of(batch).inputs[:missing]]

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        for number, recording in enumerate(self._recordings, start=1):
            with never_ends_a_run("sounds"):
                for name, samples in self._sounds(pl_module, recording).items():
                    path = fresh_path(output_folder(trainer) / "sounds", f"{number}-{name}.wav")
                    with atomic_write(path) as file:
                        write_wav(file, samples.float().numpy(), pl_module.sample_rate)  # type: ignore[arg-type]

    @torch.no_grad()
    def _sounds(self, module: LightningModule, recording: Tensor) -> dict[str, Tensor]:
        assert isinstance(module, CodesSounds)  # checked in setup
        training = module.training
        module.eval()
        try:
            # outside of a step Lightning does not apply the run's precision
            with module.trainer.precision_plugin.forward_context():
                samples = module.trainer.precision_plugin.convert_input(recording.unsqueeze(0).to(module.device))
                indices = module.encode(samples).indices
                found = {"original": recording}
                for depth in self.depths:
                    if depth <= indices.shape[2]:
                        output = module.decode_samples(indices[:, :, :depth])[0, : len(recording)]
                        found[f"stages-{depth}"] = output.float().cpu()
        finally:
            module.train(training)
        return found
