"""A small network with gates, in Lightning: which of 12 columns matter, and how many hidden units are needed."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from discrete_lightning.selection import Gate, GateLayer, HardConcrete
from discrete_lightning.selection.ties import tie
from tests.tiny_images import quiet_trainer

COLUMNS, HIDDEN = 12, 8


class GatedRows(LightningModule):
    """Gated columns, hidden units that are gated, and one output.

    Args:
        columns: the gates of the columns; Bernoulli ones by default.
        hidden: those of the hidden units; hard concrete by default.
    """

    def __init__(self, columns: GateLayer | None = None, hidden: GateLayer | None = None) -> None:
        super().__init__()
        self.columns = Gate(COLUMNS) if columns is None else columns
        first, last = nn.Linear(COLUMNS, HIDDEN), nn.Linear(HIDDEN, 1)
        self.hidden = HardConcrete(HIDDEN) if hidden is None else hidden
        tie(self.columns, consumers=[first])
        self.hidden.between(first, [], last)
        self.network = nn.Sequential(self.columns, first, self.hidden, nn.ReLU(), last)
        self.example_input_array = torch.zeros(1, COLUMNS)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)[..., 0]

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return (self(batch[0]) - batch[1]).square().mean()

    def on_train_batch_start(self, batch: list[Tensor], batch_idx: int) -> None:
        torch.manual_seed(self.global_step)  # a checkpoint does not hold the generator's state

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val/loss", (self(batch[0]) - batch[1]).square().mean(), sync_dist=True)

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("test/loss", (self(batch[0]) - batch[1]).square().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


def rows(count: int = 96, batch_size: int = 16) -> DataLoader[Any]:
    x = torch.randn(count, COLUMNS, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(x, x[:, 0] + 2 * x[:, 3].relu()), batch_size=batch_size)


def fit(module: LightningModule, *callbacks: Callback, ckpt_path: str | None = None, **arguments: Any) -> Trainer:
    trainer = quiet_trainer(**({"max_epochs": 4, "callbacks": list(callbacks), "log_every_n_steps": 1} | arguments))
    seed_everything(1, verbose=False)
    trainer.fit(module, rows(), rows(32), ckpt_path=ckpt_path)
    return trainer


def built(**arguments: Any) -> GatedRows:
    seed_everything(0, verbose=False)
    return GatedRows(**arguments)
