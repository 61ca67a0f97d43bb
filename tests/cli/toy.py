"""Small classes for the command line's tests: named in configs as `tests.cli.toy.X`, with `--trust tests`."""

import signal
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from discrete_lightning.nn import Temperature
from discrete_lightning.protocols import OutsideFault


class Choice(ABC):
    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Same(Choice):
    def __call__(self, x: Tensor) -> Tensor:
        return x


@dataclass(frozen=True)
class Scaled(Choice):
    scale: float = 2.0

    def __post_init__(self) -> None:
        if self.scale <= 0:
            raise ValueError(f"scale must be positive, got {self.scale}")

    def __call__(self, x: Tensor) -> Tensor:
        return x * self.scale


class Toy(LightningModule):
    """A linear layer.

    Args:
        width: of the layer.
        choice: applied to its outputs.
        learning_rate: of SGD.
        fail_at: the training step that fails.
        failure: how it fails.
    """

    def __init__(
        self,
        width: int = 3,
        choice: Choice | None = None,
        learning_rate: float = 0.1,
        fail_at: int = -1,
        failure: str = "",
    ) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        self.save_hyperparameters()
        self.layer, self.choice, self.learning_rate = nn.Linear(4, width), choice or Same(), learning_rate
        self.fail_at, self.failure = fail_at, failure

    def loss(self, batch: list[Tensor]) -> Tensor:
        return self.choice(self.layer(batch[0])).square().mean()

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        if self.global_step == self.fail_at and self.failure.startswith("SIG"):
            signal.raise_signal(signal.Signals[self.failure])
        elif self.global_step == self.fail_at:
            errors = {"interrupt": KeyboardInterrupt, "bug": ZeroDivisionError, "outside": OutsideFault}
            raise errors[self.failure]("asked for")
        loss = self.loss(batch)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val/loss", self.loss(batch))

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("test/loss", self.loss(batch))
        self.log("test/rate", self.learning_rate)

    def predict_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.layer(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), self.learning_rate)


class Warm(Toy):
    """A Toy with a temperature."""

    def __init__(self, width: int = 3, learning_rate: float = 0.1) -> None:
        super().__init__(width, None, learning_rate)
        self.temperature = Temperature()


class Other(LightningModule):
    """Of another family, with weights of the same names and shapes as those of a Toy of width 5."""

    def __init__(self, width: int = 5, choice: Choice | None = None) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 5)

    loss, training_step, validation_step = Toy.loss, Toy.training_step, Toy.validation_step
    test_step, predict_step, configure_optimizers = Toy.test_step, Toy.predict_step, Toy.configure_optimizers
    learning_rate, choice, fail_at, failure = 0.1, Same(), -1, ""


class ToyData(LightningDataModule):
    """Random rows.

    Args:
        rows: how many.
        missing: whether the data are not there.
    """

    def __init__(self, rows: int = 8, missing: bool = False) -> None:
        super().__init__()
        self.rows, self.missing = rows, missing

    def prepare_data(self) -> None:
        if self.missing:
            raise FileNotFoundError(2, "No such file or directory", "rows.npz")

    def loader(self) -> DataLoader[tuple[Tensor, ...]]:
        rows = torch.randn(self.rows, 4, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(rows), batch_size=4)

    train_dataloader = val_dataloader = test_dataloader = predict_dataloader = loader


class Untested(ToyData):
    """Without a test set."""

    test_dataloader = LightningDataModule.test_dataloader
