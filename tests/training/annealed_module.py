"""A module of one weight that records what each training step and each validation sees, and a Trainer for it."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from discrete_lightning.losses import EntropyBonus
from discrete_lightning.nn import GumbelQuantizer, LossWeight, RelaxedCategorical, Temperature
from discrete_lightning.schedules import Exponential, Linear

TAU = Exponential(1.0, rate=0.1, minimum=0.05)
RAMP = Linear(0.0, 1.0, steps=7)


def float32(value: float) -> float:
    return torch.tensor(value, dtype=torch.float32).item()


class Model(LightningModule):
    """Records what each training step and each validation sees."""

    def __init__(self, die_at: int | None = None) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        nn.init.constant_(self.layer.weight, 0.5)
        nn.init.zeros_(self.layer.bias)
        self.sample = RelaxedCategorical()
        self.bonus = EntropyBonus(choice=1.0)
        self.die_at = die_at
        self.seen: list[tuple[int, float, float]] = []
        self.weights: list[Tensor] = []
        self.validated: list[float] = []

    def record(self) -> None:
        if self.die_at is not None and len(self.seen) == self.die_at:
            raise KilledError
        self.seen.append((self.global_step, self.sample.temperature().item(), self.bonus.choice().item()))
        self.weights.append(self.layer.weight.detach().clone())

    def loss(self, batch: Tensor) -> Tensor:
        logits = self.layer(batch)
        return (
            torch.softmax(logits / self.sample.temperature(), -1)[:, 0] - logits[:, 1]
        ).square().mean() + self.bonus(logits)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.record()
        return self.loss(batch)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.layer.parameters(), lr=0.1)

    def train_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(torch.tensor([[1.0, -0.5]]).repeat(14, 1), batch_size=2)  # 7 batches  # type: ignore[arg-type]


class KilledError(Exception):
    """The run is killed."""


class WithValidation(Model):
    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.validated.append(self.sample.temperature().item())

    def val_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(torch.ones(2, 2), batch_size=1)  # type: ignore[arg-type]


class TwoOptimizers(Model):
    def __init__(self, die_at: int | None = None) -> None:
        super().__init__(die_at)
        self.automatic_optimization = False

    def training_step(self, batch: Tensor, batch_idx: int) -> None:  # type: ignore[override]
        self.record()
        for optimizer in self.optimizers():  # type: ignore[union-attr]
            optimizer.zero_grad()
            self.manual_backward(self.loss(batch))
            optimizer.step()

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD([self.layer.weight], lr=0.1), torch.optim.SGD([self.layer.bias], lr=0.1)]


def fit(
    model: LightningModule,
    *callbacks: Callback,
    root: Path | None = None,
    ckpt_path: Path | None = None,
    **options: Any,
) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet |= {"accelerator": "cpu", "max_epochs": 2, "enable_checkpointing": root is not None}
    if root is not None:
        callbacks = (*callbacks, ModelCheckpoint(root, every_n_train_steps=2, save_top_k=-1, filename="{step}"))
    trainer = Trainer(callbacks=list(callbacks), default_root_dir=root, **{**quiet, **options})
    trainer.fit(model, ckpt_path=ckpt_path)
    return trainer


def temperatures(model: Model) -> list[float]:
    return [temperature for _, temperature, _ in model.seen]


class Several(Model):
    """Three temperatures, one of them shared, and two weights."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict({"a": Temperature(), "b": GumbelQuantizer(4, 2)})
        self.shared = self.encoder["a"]
        self.kl = nn.ModuleDict({"weight": LossWeight(0.0)})
