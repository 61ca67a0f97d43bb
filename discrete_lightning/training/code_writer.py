"""Writes what `predict` returns, the codes of every example, to an .npz file."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from discrete_lightning.distributed import world_size
from discrete_lightning.training.run_files import fresh_path, output_folder


class CodeWriter(BasePredictionWriter):
    """Saves the tensors that `predict_step` returns (a dict of (B, ...) tensors) as arrays of an .npz file.

    Rows are in the order of the data set, whatever the number of ranks. For VQAutoencoder: `codes` (N, h, w), `labels` (N,).

    Args:
        filename: written to the run's folder, never over an existing file. Read it with `numpy.load`.
    """

    def __init__(self, filename: str = "codes.npz") -> None:
        super().__init__(write_interval="epoch")
        self.filename = filename

    def write_on_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule, predictions: Sequence[Any], batch_indices: Sequence[Any]
    ) -> None:
        if not predictions or not isinstance(predictions[0], dict):
            raise TypeError(
                f"CodeWriter saves dicts of tensors; predict_step of {type(pl_module).__name__} returned "
                f"{type(predictions[0]).__name__ if predictions else 'nothing'}"
            )
        arrays = {key: torch.cat([part[key] for part in predictions]).cpu() for key in predictions[0]}
        positions = torch.tensor([index for batch in batch_indices[0] for index in batch])
        parts: list[Any] = [(positions, arrays)]
        if world_size() > 1:
            parts = [None] * world_size()
            dist.all_gather_object(parts, (positions, arrays))
        if trainer.is_global_zero:
            path = fresh_path(output_folder(trainer), self.filename)
            np.savez_compressed(path, **_in_order(parts))
            print(f"codes of {sum(len(part[0]) for part in parts)} examples: {path}")


def _in_order(parts: list[tuple[Tensor, dict[str, Tensor]]]) -> dict[str, Any]:
    order = torch.cat([positions for positions, _ in parts]).argsort()
    return {key: torch.cat([arrays[key] for _, arrays in parts])[order].numpy() for key in parts[0][1]}
