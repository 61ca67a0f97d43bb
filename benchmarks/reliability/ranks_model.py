"""A small model that draws noise on each rank, and whose ranks fail where they are asked to: for `ranks.py` and the tests."""

import os
import time
from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

_ROWS = 64


class Ranked(LightningModule):
    """A linear layer behind dropout. It writes the file `pid-<rank>` into the working directory, and `step-<rank>` at `mark`.

    Args:
        pause: seconds for a step.
        mark: the optimiser step whose start is marked by a file.
        fail_rank: the rank that fails.
        fail_at: the optimiser step at which it does; only where `FAILED` does not exist yet, so that a second attempt passes.
        failure: "error", "exit", "memory", "hang", or "" for none.
    """

    def __init__(
        self, pause: float = 0.0, mark: int = 0, fail_rank: int = 1, fail_at: int = 0, failure: str = ""
    ) -> None:
        super().__init__()
        self.layer, self.drop = nn.Linear(4, 3), nn.Dropout(0.5)
        self.pause, self.mark, self.fail_rank, self.fail_at, self.failure = pause, mark, fail_rank, fail_at, failure

    def on_fit_start(self) -> None:
        Path(f"pid-{self.global_rank}").write_text(str(os.getpid()))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        if self.global_step == self.mark:
            Path(f"step-{self.global_rank}").touch()
        time.sleep(self.pause)
        if self.global_rank == self.fail_rank and self.global_step == self.fail_at and self.failure:
            self._fail()
        loss = self.layer(self.drop(batch[0])).add(torch.randn(3)).square().mean()
        self.log("train/loss", loss, on_step=True)
        return loss

    def _fail(self) -> None:
        if Path("FAILED").exists():
            return
        Path("FAILED").touch()
        if self.failure == "error":
            raise ZeroDivisionError("asked for")
        if self.failure == "memory":
            torch.empty(2**60)
        if self.failure == "exit":
            os._exit(3)
        time.sleep(10_000)

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("test/loss", self.layer(batch[0]).square().mean(), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 0.01)


class Rows(LightningDataModule):
    """64 random rows, 4 a batch."""

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self._loader(True)

    def test_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self._loader(False)

    def _loader(self, shuffle: bool) -> DataLoader[tuple[Tensor, ...]]:
        rows = torch.randn(_ROWS, 4, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(rows), batch_size=4, shuffle=shuffle)
