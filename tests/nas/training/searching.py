"""What the tests of ArchitectureSearch share: callbacks that watch it, and a search without batch statistics."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from discrete_lightning.models import (
    ArchitectureSearch,
)
from discrete_lightning.nn import OneOf
from tests.tiny_images import FAST, SPACE


def served(batches: list[Any]) -> DataLoader[Any]:
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


class Watch(Callback):
    """Which options run in which step, what is seen, and the temperature."""

    def __init__(self) -> None:
        self.ran: list[set[tuple[int, int]]] = []
        self.calls: list[int] = []
        self.taus: list[float] = []
        self.labels: list[Tensor] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for layer in pl_module.modules():
            if isinstance(layer, OneOf):
                for index, option in enumerate(layer.options):
                    option.register_forward_hook(self._hook(layer.row, index))

    def _hook(self, row: int, index: int) -> Any:
        def hook(*_: Any) -> None:
            if self.ran:
                self.ran[-1].add((row, index))
                self.calls[-1] += 1

        return hook

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.ran.append(set())
        self.labels.append(batch["weights"][1])
        self.calls.append(0)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        self.taus.append(float(pl_module.choice.sampler.temperature()))


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


class NormFree(ArchitectureSearch):
    """Without batch statistics a batch of 16 is the sum of two of 8."""

    def __init__(self, method: Any, accumulate: int) -> None:
        # without `none`: networks that compute nothing have equal losses, whose rounding Adam would make steps of
        space = SPACE.changed(operations=("skip", "conv1x1", "conv3x3"))
        super().__init__(method, space, optimizers=FAST, accumulate=accumulate)
        for parent in list(self.network.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.BatchNorm2d):
                    setattr(parent, name, nn.Identity())


class SaveAt(Callback):
    def __init__(self, path: Path, epoch: int, batch: int) -> None:
        self.path, self.at = path, (epoch, batch)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == self.at:
            trainer.save_checkpoint(self.path, weights_only=False)
