"""A user's own module that holds a codebook, its data, and a short training."""

import csv
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from discrete_lightning.nn import VectorQuantizer


class Codes(LightningModule):
    """A user's module that holds our codebook: 4 x 4 images to 4 vectors of 4."""

    def __init__(self, num_codes: int = 8, **arguments: Any) -> None:
        super().__init__()
        self.scale = nn.Linear(4, 4)
        self.book = VectorQuantizer(num_codes, 4, **arguments)

    def reconstruct(self, images: Tensor) -> Tensor:
        return self.book(self.scale(images.view(-1, 4, 4))).quantized.view_as(images).clamp(0, 1)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        quantized = self.book(self.scale(batch[0].view(-1, 4, 4)))
        return quantized.quantized.square().mean() + quantized.loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        pass

    def predict_step(self, batch: list[Tensor], batch_idx: int) -> dict[str, Tensor]:
        return {"codes": self.book(self.scale(batch[0].view(-1, 4, 4))).indices, "labels": batch[1]}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def images(count: int = 32) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    return DataLoader(TensorDataset(torch.rand(count, 1, 4, 4, generator=generator), torch.arange(count)), batch_size=8)


def trainer(folder: Path, *callbacks: Any, epochs: int = 3, csv_file: bool = True) -> Trainer:
    return Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=list(callbacks),
        logger=CSVLogger(folder, name="", version="") if csv_file else False,
        default_root_dir=folder,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def logged(folder: Path, column: str) -> list[float]:
    with (folder / "metrics.csv").open() as file:
        return [float(row[column]) for row in csv.DictReader(file) if row.get(column)]
