"""Predictions that no other callback writes, saved by `torch.save`."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from discrete_lightning.training.run_files import fresh_path, output_folder


class PredictionFile(BasePredictionWriter):
    """Saves what `predict_step` returns, a list of batches, as predictions.pt; of several ranks as predictions-rank0.pt etc.

    Read it with `torch.load(path, weights_only=True)`.
    """

    def __init__(self) -> None:
        super().__init__(write_interval="epoch")

    def write_on_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule, predictions: Sequence[Any], batch_indices: Sequence[Any]
    ) -> None:
        rank = "" if trainer.world_size == 1 else f"-rank{trainer.global_rank}"
        torch.save(predictions, fresh_path(output_folder(trainer), f"predictions{rank}.pt"))
