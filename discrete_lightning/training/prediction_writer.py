"""Predictions of all ranks in the order of the data: the base of the callbacks that write them."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from discrete_lightning.distributed import rank, world_size
from discrete_lightning.training._lightning_private import rows_of_batch


@dataclass
class _Part:
    """What one rank predicted for one batch, and the numbers of its examples in the data set where they are known."""

    loader: int
    batch: int
    rank: int
    rows: list[int] | None
    output: Any


class PredictionWriter(Callback):
    """Collects what `predict_step` returns, on the CPU, and hands it to `write` on rank 0: once for each prediction loader.

    The order is that of the data set, whatever sampler and number of ranks. Data without numbers (an IterableDataset) keep
    the order in which each rank read them, rank 0 first.
    """

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._parts: list[_Part] = []

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        rows = rows_of_batch(trainer, dataloader_idx, batch_idx)
        self._parts.append(_Part(dataloader_idx, batch_idx, rank(), rows, move_data_to_device(outputs, "cpu")))

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        parts, self._parts = _of_all_ranks(self._parts), []
        if not trainer.is_global_zero:
            return
        if world_size() > 1 and any(part.rows is None for part in parts):
            print(
                "the data have no numbers: predictions are in the order of ranks, each as it read its part of the data"
            )
        loaders = trainer.predict_loop.num_dataloaders
        for loader in range(loaders):
            batches = in_order([part for part in parts if part.loader == loader])
            self.write(trainer, pl_module, batches, f"-loader{loader}" if loaders > 1 else "")

    def write(self, trainer: Trainer, pl_module: LightningModule, batches: list[Any], suffix: str) -> None:
        """Writes the predictions of one loader.

        Args:
            trainer: of the run.
            pl_module: which predicted.
            batches: what `predict_step` returned; of several ranks, their batches of one number are one, or, where rows have
                different lengths, each row is a batch.
            suffix: for the name of the file: empty if there is one loader only.
        """
        raise NotImplementedError


def in_order(parts: list[_Part]) -> list[Any]:
    """The outputs in the order of the data set."""
    parts = sorted(parts, key=lambda part: (part.rank, part.batch))
    numbers = [number for part in parts for number in part.rows or ()]
    if any(part.rows is None for part in parts) or numbers == sorted(numbers):
        return [part.output for part in parts]
    if not all(_rows(part.output) == {len(part.rows or ())} for part in parts):  # not one row for each example
        return [part.output for part in sorted(parts, key=lambda part: min(part.rows or [0]))]
    if (
        len({_shapes(part.output) for part in parts}) > 1
    ):  # rows of different lengths, which no tensor joins: one by one
        rows = [
            (number, _taken(part.output, slice(i, i + 1))) for part in parts for i, number in enumerate(part.rows or ())
        ]
        return [output for _, output in sorted(rows, key=lambda row: row[0])]
    output = _taken(_joined([part.output for part in parts]), torch.tensor(numbers).argsort(stable=True))
    sizes = [0] * (1 + max(part.batch for part in parts))
    for part in parts:
        sizes[part.batch] += len(part.rows or ())
    ends = torch.tensor(sizes).cumsum(0).tolist()
    return [_taken(output, slice(end - size, end)) for size, end in zip(sizes, ends, strict=True)]


def _of_all_ranks(parts: list[_Part]) -> list[_Part]:
    """On rank 0 the parts of all ranks."""
    if world_size() == 1:
        return parts
    gathered: list[Any] | None = [None] * world_size() if rank() == 0 else None
    dist.gather_object(parts, gathered)
    return [part for each in gathered or [] for part in each]


def _rows(output: Any) -> set[int | None]:
    """The numbers of rows of all tensors in an output; None where it holds anything else."""
    if isinstance(output, Tensor):
        return {len(output) if output.ndim else None}
    if isinstance(output, dict):
        return {rows for value in output.values() for rows in _rows(value)}
    if type(output) in (list, tuple):
        return {rows for value in output for rows in _rows(value)}
    return {None}


def _shapes(output: Any) -> Any:
    """The shapes of the rows of all tensors in an output."""
    if isinstance(output, Tensor):
        return tuple(output.shape[1:])
    return tuple(map(_shapes, output.values() if isinstance(output, dict) else output))


def _joined(outputs: list[Any]) -> Any:
    first = outputs[0]
    if isinstance(first, Tensor):
        return torch.cat(outputs)
    if isinstance(first, dict):
        return {key: _joined([output[key] for output in outputs]) for key in first}
    return type(first)(_joined([output[place] for output in outputs]) for place in range(len(first)))


def _taken(output: Any, rows: Any) -> Any:
    if isinstance(output, Tensor):
        return output[rows]
    if isinstance(output, dict):
        return {key: _taken(value, rows) for key, value in output.items()}
    return type(output)(_taken(value, rows) for value in output)
