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
    were read, rank 0 first. For VQAutoencoder: `codes` (N, h, w), `labels` (N,). Where the rows of a key, such as the codes
    (T, stages) of recordings, have different lengths T, its array holds them one behind the other, (sum of T, stages), and
    `<key>_lengths` (N,) the lengths: `numpy.split(codes, codes_lengths.cumsum()[:-1])` are the rows.

    Args:
        filename: written to the run's folder, never over an existing file; with several prediction loaders a file for each,
            `codes-loader0.npz` etc. Read it with `numpy.load`.

    Raises:
        TypeError: `predict_step` returned something else, or nothing.
        ValueError: the batches have different keys, or rows that differ in more than their lengths.
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
        arrays = {name: array for key in batches[0] for name, array in _arrays(key, batches).items()}
        examples = max((sum(len(batch[key]) for batch in batches) for key in batches[0]), default=0)
        path = fresh_path(output_folder(trainer), f"{Path(self.filename).stem}{suffix}{Path(self.filename).suffix}")
        with atomic_write(path) as file:
            np.savez_compressed(file, **arrays)
        print(f"codes of {examples} examples: {path}")


def _arrays(key: str, batches: list[dict[str, Tensor]]) -> dict[str, Any]:
    shapes = {tuple(batch[key].shape[1:]) if key in batch else None for batch in batches}
    if len(shapes) > 1:
        if len({shape[1:] if shape else None for shape in shapes}) > 1 or None in shapes:
            found = " and ".join(sorted("missing" if shape is None else str(shape) for shape in shapes)[:2])
            raise ValueError(
                f"{key} has rows of different shapes, {found}, which one array cannot hold: serve data of one size, or leave "
                "CodeWriter out (predictions.pt then holds the batches)"
            )
        lengths = [batch[key].shape[1] for batch in batches for _ in range(len(batch[key]))]
        rows = torch.cat([batch[key].flatten(0, 1) for batch in batches])
        return {key: _numpy(rows), f"{key}_lengths": np.array(lengths, np.int64)}
    return {key: _numpy(torch.cat([batch[key] for batch in batches]))}


def _numpy(rows: Tensor) -> Any:
    return (rows.float() if rows.dtype == torch.bfloat16 else rows).numpy()


def _kind(batch: Any) -> str:
    if not isinstance(batch, dict):
        return type(batch).__name__
    return "a dict with " + ", ".join(f"{key}: {type(value).__name__}" for key, value in batch.items())
