"""Writes what `predict` returns, the codes of every example, to an .npz file."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from discrete_lightning.training.atomic_write import atomic_write
from discrete_lightning.training.prediction_writer import PredictionWriter
from discrete_lightning.training.run_files import fresh_path, output_folder


class CodeWriter(PredictionWriter):
    """Saves the tensors that `predict_step` returns (a dict of (B, ...) tensors) as arrays of an .npz file.

    Rows are in the order of the data set, whatever the number of ranks; those of an IterableDataset in the order in which they
    were read, rank 0 first. For VQAutoencoder: `codes` (N, h, w), `labels` (N,).

    Args:
        filename: written to the run's folder, never over an existing file; with several prediction loaders a file for each,
            `codes-loader0.npz` etc. Read it with `numpy.load`.

    Raises:
        TypeError: `predict_step` returned something else, or nothing.
        ValueError: the batches have different keys, or rows of different shapes.
    """

    def __init__(self, filename: str = "codes.npz") -> None:
        self.filename = filename

    def write(self, trainer: Trainer, pl_module: LightningModule, batches: list[Any], suffix: str) -> None:
        for batch in batches or [None]:
            if not isinstance(batch, dict) or not all(
                isinstance(value, Tensor) and value.ndim for value in batch.values()
            ):
                raise TypeError(
                    f"CodeWriter saves dicts of tensors; predict_step of {type(pl_module).__name__} returned "
                    f"{_kind(batch) if batches else 'nothing'}"
                )
        arrays = {key: _array(key, batches) for key in batches[0]}
        path = fresh_path(output_folder(trainer), f"{Path(self.filename).stem}{suffix}{Path(self.filename).suffix}")
        with atomic_write(path) as file:
            np.savez_compressed(file, **arrays)
        print(f"codes of {max(map(len, arrays.values()), default=0)} examples: {path}")


def _array(key: str, batches: list[dict[str, Tensor]]) -> Any:
    shapes = {tuple(batch[key].shape[1:]) if key in batch else "missing" for batch in batches}
    if len(shapes) > 1:
        found = " and ".join(sorted(map(str, shapes))[:2])
        raise ValueError(
            f"{key} has rows of different shapes, {found}, which one array cannot hold: serve data of one size, or leave "
            "CodeWriter out (predictions.pt then holds the batches)"
        )
    rows = torch.cat([batch[key] for batch in batches])
    return (rows.float() if rows.dtype == torch.bfloat16 else rows).numpy()


def _kind(batch: Any) -> str:
    if not isinstance(batch, dict):
        return type(batch).__name__
    return "a dict with " + ", ".join(f"{key}: {type(value).__name__}" for key, value in batch.items())
