"""A plain LightningModule that holds one of each layer of the package, and a Trainer that records what is logged."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers.logger import Logger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from discrete_lightning.losses import EntropyBonus, routing_loss
from discrete_lightning.nn import (
    BiasBalancedRouter,
    ExpertMLP,
    GumbelQuantizer,
    MixtureOfExperts,
    OneOf,
    RelaxedCategorical,
    VectorQuantizer,
)
from tests.tiny_images import quiet_trainer

WAYS = ("automatic", "accumulation", "manual")


class Holder(LightningModule):
    """Reconstructs images of 4 x 4 through codes, a sample and a choice of layers.

    Args:
        manual: whether it optimises by hand.
        fail_at: the batch that raises.
        error: what it raises.
    """

    def __init__(
        self, manual: bool = False, fail_at: int | None = None, error: type[BaseException] = RuntimeError
    ) -> None:
        super().__init__()
        self.automatic_optimization = not manual
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 8))
        self.sampled = GumbelQuantizer(5, 8)
        self.nearest = VectorQuantizer(4, 8)
        self.choice = RelaxedCategorical()
        self.either = OneOf([nn.Linear(8, 8), nn.Tanh()])
        self.bonus = EntropyBonus(choice=0.1)
        self.decoder = nn.Linear(8, 16)
        self.mixture = MixtureOfExperts(ExpertMLP(8, 4), 6, router=BiasBalancedRouter(8, 6, speed=0.05))
        self.fail_at, self.error = fail_at, error

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.encoder(images)
        sampled, nearest = self.sampled(hidden), self.nearest(hidden)
        mixed = self.either(sampled.quantized * self.choice(hidden) + nearest.quantized)
        restored = self.decoder(mixed + 0.1 * self.mixture(mixed)).view_as(images)
        return restored, nearest.loss + self.bonus(sampled.logits) + routing_loss(self)

    def reconstruct(self, images: Tensor) -> Tensor:
        return self(images)[0].clamp(0, 1)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor | None:
        if batch_idx == self.fail_at:
            raise self.error("a bad batch")
        images = batch[0]
        restored, extra = self(images)
        loss = (restored - images).square().mean() + extra
        if self.automatic_optimization:
            return loss
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return None

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val/loss", (self(batch[0])[0] - batch[0]).square().mean())

    def predict_step(self, batch: list[Tensor], batch_idx: int) -> dict[str, Tensor]:
        return {"codes": self.nearest(self.encoder(batch[0])).indices}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def data(count: int = 24) -> DataLoader[Any]:
    images = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(images), batch_size=4)


class Memory(Logger):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int | None, dict[str, float]]] = []

    @property
    def name(self) -> str:
        return "memory"

    @property
    def version(self) -> int:
        return 0

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append((step, {key: float(value) for key, value in metrics.items()}))

    def logged(self, names: set[str] | None = None) -> list[tuple[int | None, dict[str, float]]]:
        """The rows; of these names alone, if any are given."""
        rows = [(step, {key: row[key] for key in row if names is None or key in names}) for step, row in self.rows]
        return [(step, row) for step, row in rows if row]


def trainer_of(way: str, folder: Path, *callbacks: Callback) -> Trainer:
    return quiet_trainer(
        max_epochs=2,
        accumulate_grad_batches=2 if way == "accumulation" else 1,
        callbacks=list(callbacks),
        default_root_dir=folder,
        logger=Memory(),
        log_every_n_steps=1,
    )


def holder(way: str, **arguments: Any) -> Holder:
    seed_everything(0, verbose=False)
    return Holder(manual=way == "manual", **arguments)


def hooks(module: nn.Module) -> int:
    """How many hooks hang on a module and all in it."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")
    return sum(len(getattr(each, kind)) for each in module.modules() for kind in kinds)
