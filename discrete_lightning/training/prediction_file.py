"""Predictions that no other callback writes, saved by `torch.save`."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer

from discrete_lightning.storage.digest import save_with_digest
from discrete_lightning.training.atomic_write import atomic_write
from discrete_lightning.training.prediction_writer import PredictionWriter
from discrete_lightning.training.run_files import fresh_path, output_folder


class PredictionFile(PredictionWriter):
    """Saves what `predict_step` returns, a list of batches, as predictions.pt.

    With several prediction loaders there is a file for each, predictions-loader0.pt etc. Read it with
    `torch.load(path, weights_only=True)`.
    """

    def write(self, trainer: Trainer, pl_module: LightningModule, batches: list[Any], suffix: str) -> None:
        with atomic_write(fresh_path(output_folder(trainer), f"predictions{suffix}.pt")) as file:
            save_with_digest(batches, file)
