"""Writes semantic IDs, a row for each item."""

import csv
import io
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from discrete_lightning.data.item_vectors import ItemVectors
from discrete_lightning.training.atomic_write import atomic_write
from discrete_lightning.training.prediction_writer import PredictionWriter
from discrete_lightning.training.run_files import fresh_path, output_folder
from discrete_lightning.vq.functional.semantic_ids import colliding, with_collision_token


class SemanticIDWriter(PredictionWriter):
    """Saves what `predict_step` of an ItemTokenizer returns as a CSV file: `item`, `code_1` to the last level, `token`.

    The token tells items of equal codes apart: 0, 1, ... in the order of the items, 0 of most (Rajput et al. 2023). Items have
    the names that ItemVectors read, or their numbers. An item that came twice is written once.

    Args:
        filename: written to the run's folder, never over an existing file.

    Raises:
        TypeError: `predict_step` returned something else.
    """

    def __init__(self, filename: str = "semantic_ids.csv") -> None:
        self.filename = filename

    def write(self, trainer: Trainer, pl_module: LightningModule, batches: list[Any], suffix: str) -> None:
        for batch in batches or [None]:
            if not isinstance(batch, dict) or not {"codes", "items"} <= set(batch):
                raise TypeError(
                    "SemanticIDWriter needs a predict_step that returns {'codes': (B, levels), 'items': (B,)}, which "
                    f"{type(pl_module).__name__} has not; leave the callback out"
                )
        codes, items = (torch.cat([batch[key] for batch in batches]) for key in ("codes", "items"))
        numbers, first = _first_of_each(items)
        codes = codes[first]
        data = trainer.datamodule  # type: ignore[attr-defined]
        names = data.names if isinstance(data, ItemVectors) else None
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["item", *(f"code_{level + 1}" for level in range(codes.shape[1])), "token"])
        for number, row in zip(numbers.tolist(), with_collision_token(codes).tolist(), strict=True):
            writer.writerow([number if names is None else names[number], *row])
        path = fresh_path(output_folder(trainer), self.filename.replace(".csv", f"{suffix}.csv"))
        with atomic_write(path) as file:
            file.write(text.getvalue().encode())
        print(f"IDs of {len(numbers)} items, {int(colliding(codes).sum())} of which share their codes: {path}")


def _first_of_each(items: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers of the items, sorted, and where each comes first."""
    order = items.argsort(stable=True)
    ranked = items[order]
    first = torch.ones_like(ranked, dtype=torch.bool)
    first[1:] = ranked[1:] != ranked[:-1]
    return ranked[first], order[first]
