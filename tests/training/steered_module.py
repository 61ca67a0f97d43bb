"""A module of a user's own whose nested part divides by a Temperature, with all that a measurement must leave alone."""

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric

from discrete_lightning.nn import GumbelQuantizer, RelaxedCategorical, Temperature


class Mixing(nn.Module):
    """Softmax of noisy logits over its own temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.tau = Temperature(1.0)
        self.own = torch.Generator().manual_seed(4)

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.randn(x.shape, generator=self.own)
        return torch.softmax((x + noise + 0.1 * np.random.rand() + 0.1 * random.random()).float() / self.tau(), -1).to(
            x.dtype
        )


class Steered(LightningModule):
    def __init__(self, manual: bool = False) -> None:
        super().__init__()
        self.automatic_optimization = not manual
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(0.2))
        self.inner = nn.ModuleDict({"mix": Mixing()})
        self.quantizer = GumbelQuantizer(5, 4)
        self.choice = RelaxedCategorical()
        self.out = nn.Linear(4, 6)
        self.mean = MeanMetric()
        self.steps = 0
        self.taus: list[float] = []
        self.losses: list[float] = []

    def loss(self, x: Tensor) -> Tensor:
        hidden = self.net(x)
        quantized = self.quantizer(hidden)
        mixed = self.choice(hidden) + self.inner["mix"](hidden) + quantized.quantized
        return (self.out(mixed) - x).square().mean() + quantized.loss

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor | None:
        self.steps += 1
        self.taus.append(self.choice.temperature().item())
        loss = self.loss(batch[0])
        self.losses.append(loss.item())
        self.mean.update(loss.detach())
        self.log("loss", loss.detach())
        if self.automatic_optimization:
            return loss
        optimizer: Any = self.optimizers()
        scheduler: Any = self.lr_schedulers()
        with optimizer.toggle_model():
            self.manual_backward(loss)
            self.clip_gradients(optimizer, gradient_clip_val=1.0)
            optimizer.step()
            optimizer.zero_grad()
        scheduler.step()
        return None

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), 0.01)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.9)]


def examples(count: int = 64, seed: int = 0) -> DataLoader[Any]:
    x = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    return DataLoader(TensorDataset(x), batch_size=4)


def fit(module: LightningModule, *callbacks: Callback, seed: int = 1, data: int = 0, **options: Any) -> Trainer:
    """A fit of 16 batches."""
    seed_everything(seed, verbose=False)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "max_epochs": 1}
    trainer = Trainer(accelerator="cpu", enable_checkpointing=False, callbacks=list(callbacks), **{**quiet, **options})
    trainer.fit(module, examples(seed=data))
    return trainer


def left(module: LightningModule, trainer: Trainer) -> dict[str, Any]:
    """All that a fit leaves behind."""
    return {
        "state": {key: value for key, value in module.state_dict().items() if isinstance(value, Tensor)},
        "gradients": [each.grad for each in module.parameters()],
        "optimizer": trainer.optimizers[0].state_dict()["state"],
        "rates": [group["lr"] for group in trainer.optimizers[0].param_groups],
        "metrics": [each.compute() for each in module.modules() if isinstance(each, MeanMetric)],
        "modes": [each.training for each in module.modules()],
        "torch": torch.get_rng_state(),
        "numpy": np.random.rand(),
        "python": random.random(),
        "own": [each.own.get_state() for each in module.modules() if isinstance(each, Mixing)],
        "figures": {key: value for key, value in trainer.callback_metrics.items() if key == "loss"},
    }
