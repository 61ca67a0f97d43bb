"""A module and data that draw in every way, and a fit that is cut after each of its checkpoints."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torchmetrics import MeanMetric

from discrete_lightning.callbacks import ExactResume
from discrete_lightning.training._lightning_private import call_between_batches

Fields = dict[str, Any]


class Noisy(Dataset[Tensor]):
    """Items that hold their number, and draws of each kind of global generator and of one of their own."""

    def __init__(self, count: int) -> None:
        self.count, self.own = count, np.random.default_rng(5)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        draws = [float(torch.rand(())), np.random.rand(), random.random(), self.own.random()]
        return torch.tensor([index, *draws], dtype=torch.float32)


class Stream(IterableDataset[Tensor]):
    """A shuffled stream without a length, shuffled by Python's generator."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[Tensor]:
        order = list(range(self.count))
        random.shuffle(order)
        for index in order:
            yield torch.tensor([index, random.random(), float(torch.rand(())), np.random.rand(), 0])


class Position:
    """A loader that goes on by itself, as torchdata's does."""

    def __init__(self, count: int) -> None:
        self.count, self.at = count, 0

    def __len__(self) -> int:
        return self.count // 4

    def __iter__(self) -> Iterator[Tensor]:
        if self.at >= len(self):
            self.at = 0
        while self.at < len(self):
            self.at += 1
            yield torch.full((4, 5), float(self.at))

    def state_dict(self) -> Fields:
        return {"at": self.at}

    def load_state_dict(self, state: Fields) -> None:
        self.at = state["at"]


class Learner(LightningModule):
    """A linear model whose steps draw; it notes all batches and draws."""

    def __init__(
        self,
        manual: bool = False,
        gather: int = 1,
        plateau: bool = False,
        estimates: bool = False,
        rank: int = 0,
    ) -> None:
        super().__init__()
        self.estimates = estimates
        self.automatic_optimization = not manual
        self.gather, self.plateau = gather, plateau
        self.net = nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.5), nn.Linear(4, 1))
        self.mean, self.loss_seen = MeanMetric(), MeanMetric()
        self.noise = torch.Generator().manual_seed(9 + rank)
        self.seen: list[list[float]] = []
        self.epochs: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        x = batch if isinstance(batch, Tensor) else torch.cat(list(batch.values()))
        noise = torch.randn(1) + np.random.rand() + random.random() + torch.rand(1, generator=self.noise)
        self.seen.append([*x.flatten().tolist(), float(noise)])
        loss = (self.net(x) + noise).square().mean()
        self.mean.update(loss.detach())
        self.loss_seen.update(loss.detach())
        self.log("mean", self.mean, on_step=False, on_epoch=True)
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        self.log("largest", loss.detach(), on_step=False, on_epoch=True, reduce_fx="max")
        if self.automatic_optimization:
            return loss
        self.manual_backward(loss)
        if (batch_idx + 1) % self.gather == 0:
            optimizer: Any = self.optimizers()
            optimizer.step()
            optimizer.zero_grad()
        return None

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x = batch if isinstance(batch, Tensor) else torch.cat(list(batch.values()))
        self.log("val/loss", self.net(x).square().mean() + torch.rand(()))

    def on_train_epoch_end(self) -> None:
        self.epochs.append(float(self.loss_seen.compute()))
        self.loss_seen.reset()

    def configure_optimizers(self) -> Any:
        # asking for the number of steps makes the loaders, and iterates them
        steps = float(self.trainer.estimated_stepping_batches) if self.estimates else 15.0
        optimizer = torch.optim.Adam(self.parameters(), 0.15 / steps)
        if self.plateau:
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.7)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "train/loss"}}
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.9)]


class Loaders(LightningDataModule):
    """Loaders of one kind."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def train_dataloader(self) -> Any:
        if self.kind == "stream":
            return DataLoader(Stream(20), batch_size=4)
        if self.kind == "workers":
            return DataLoader(Noisy(20), 4, shuffle=True, num_workers=2)
        if self.kind == "several":
            return {"a": DataLoader(Noisy(20), 4, shuffle=True), "b": DataLoader(Noisy(8), 4, shuffle=True)}
        if self.kind == "state":
            return Position(20)
        if self.kind == "own generator":
            return DataLoader(Noisy(20), 4, shuffle=True, generator=torch.Generator().manual_seed(4))
        return DataLoader(Noisy(20), 4, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(Noisy(4), 4)


class EveryMoment(Checkpoint):
    """Saves whenever a callback that saves is asked, and before each batch, as an interrupt does."""

    def __init__(self, folder: Path, only: str = "") -> None:
        self.folder, self.only, self.number = folder, only, 0

    def save(self, trainer: Trainer, where: str) -> None:
        if self.only in where:
            trainer.save_checkpoint(self.folder / f"{self.number:02}-{where}.ckpt", weights_only=False)
            self.number += 1

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        call_between_batches(trainer, lambda trainer: self.save(trainer, "between"))

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.save(trainer, "batch")

    def on_validation_end(self, trainer: Trainer, *_: Any) -> None:
        self.save(trainer, "validation")

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        self.save(trainer, "epoch")


def fit(
    folder: Path,
    start: Path | None = None,
    *,
    data: str | LightningDataModule = "plain",
    model: Fields | None = None,
    module: Learner | None = None,
    **fields: Any,
) -> Fields:
    """All that a fit leaves: to be equal, but for `seen`, of which a resumed fit has the end."""
    seed_everything(3, verbose=False)
    module = module or Learner(**(model or {}))
    best = ModelCheckpoint(folder / "best", monitor="val/loss", save_top_k=2)
    callbacks = [EveryMoment(folder, fields.pop("only", "")), best, *fields.pop("callbacks", []), ExactResume()]
    stopping = EarlyStopping("val/loss", patience=fields.pop("patience", 20))
    trainer = Trainer(
        **{"max_epochs": 3, "logger": False, "enable_progress_bar": False, "enable_model_summary": False} | fields,
        accelerator="cpu",
        callbacks=[*callbacks, stopping],
        num_sanity_val_steps=0,
    )
    loaders = Loaders(data) if isinstance(data, str) else data
    trainer.fit(module, loaders, ckpt_path=start, weights_only=True if start else None)
    return {
        "weights": module.state_dict(),
        "optimizer": trainer.optimizers[0].state_dict()["state"],
        "schedulers": [each.scheduler.state_dict() for each in trainer.lr_scheduler_configs],
        "metrics": dict(trainer.callback_metrics),
        "best": (float(best.best_model_score or 0), sorted(float(each) for each in best.best_k_models.values())),
        "stopping": {name: each for name, each in stopping.state_dict().items() if name != "stopped_epoch"},
        "counts": (trainer.global_step, trainer.current_epoch, trainer.fit_loop.epoch_loop.total_batch_idx),
        "next": (float(torch.rand(())), np.random.rand(), random.random()),
        "seen": module.seen,
        "epochs": module.epochs,
    }


def differences(whole: Fields, resumed: Fields) -> list[str]:
    """Names of what differs."""
    found = [name for name in whole if name not in ("seen", "epochs") and not same(whole[name], resumed[name])]
    for name in ("seen", "epochs"):
        count = len(resumed[name])
        if count and not same(whole[name][-count:], resumed[name]):
            found.append(name)
    return found


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(each, other[name]) for name, each in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)
