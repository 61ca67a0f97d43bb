"""Fits that are resumed where modules, callbacks and loaders change, or draw, at the start of training or of an epoch."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    GradientAccumulationScheduler,
    LearningRateFinder,
    StochasticWeightAveraging,
)
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from tests.training.resumed_module import Fields, Learner, Loaders, Noisy, Position, differences, fit

pytestmark = pytest.mark.filterwarnings("ignore:.*many workers.*", "ignore:.*does not have many workers.*")


class DrawsAtStart(Learner):
    def on_train_start(self) -> None:
        torch.randn(3)

    def on_train_epoch_start(self) -> None:
        torch.randn(2)


class Freezes(Learner):
    def on_train_epoch_start(self) -> None:
        self.net[0].requires_grad_(self.current_epoch != 1)
        self.net[1].train(self.current_epoch != 1)


class WithBackbone(Learner):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.backbone(x))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.seen.append(batch.flatten().tolist())
        self.log("train/loss", loss := self(batch).square().mean())
        return loss

    def on_train_epoch_end(self) -> None:
        pass

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam([each for each in self.parameters() if each.requires_grad], 0.01)


class LogsSteps(Learner):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        self.log("val/step", float(batch_idx), on_step=True, on_epoch=False)


class Split(LightningDataModule):
    """A subset that is drawn again every second epoch."""

    def train_dataloader(self) -> Any:
        return DataLoader(Subset(Noisy(40), torch.randperm(40)[:20].tolist()), 4, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(Subset(Noisy(40), torch.randperm(40)[:4].tolist()), 4)


class Grows(Split):
    def __init__(self) -> None:
        super().__init__()
        self.draws = torch.Generator().manual_seed(1)

    def train_dataloader(self) -> Any:
        assert self.trainer is not None
        rows = torch.randperm(40, generator=self.draws)[: 16 + 4 * self.trainer.current_epoch]
        return DataLoader(Subset(Noisy(40), rows.tolist()), 4, shuffle=True)


class Mixed(Loaders):
    def __init__(self) -> None:
        super().__init__("mixed")

    def train_dataloader(self) -> Any:
        return {"a": Position(20), "b": DataLoader(Noisy(20), 4, shuffle=True)}


class Endless:
    """A loader with a state and without a length, of which Lightning reads a batch ahead."""

    def __init__(self) -> None:
        self.at = 0

    def __iter__(self) -> Iterator[Tensor]:
        if self.at >= 5:
            self.at = 0
        while self.at < 5:
            self.at += 1
            yield torch.rand(4, 5) + self.at

    state_dict, load_state_dict = Position.state_dict, Position.load_state_dict


class Ahead(Loaders):
    def __init__(self) -> None:
        super().__init__("ahead")

    def train_dataloader(self) -> Any:
        return Endless()


class Same(Dataset[Tensor]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        return torch.full((5,), float(index))


class Persists(Loaders):
    def __init__(self) -> None:
        super().__init__("plain")

    def val_dataloader(self) -> Any:
        return DataLoader(Same(), 4, num_workers=1, persistent_workers=True)


CASES: dict[str, Callable[[], Fields]] = {
    "draws at the start": lambda: {"module": DrawsAtStart()},
    "draws at the start, a stream": lambda: {"module": DrawsAtStart(), "data": "stream"},
    "draws at the start, several loaders": lambda: {"module": DrawsAtStart(), "data": "several"},
    "freezes in an epoch": lambda: {"module": Freezes()},
    "accumulates by epoch": lambda: {"callbacks": [GradientAccumulationScheduler({0: 1, 1: 2, 2: 3})]},
    "a backbone that thaws": lambda: {"module": WithBackbone(), "callbacks": [BackboneFinetuning(1)]},
    "averages weights": lambda: {"callbacks": [StochasticWeightAveraging(0.05, 1, annealing_epochs=2)]},
    "a drawn subset": lambda: {"data": Split(), "reload_dataloaders_every_n_epochs": 2},
    "a subset for each epoch": lambda: {"data": Grows()},
    "a subset for each epoch, reloaded": lambda: {"data": Grows(), "reload_dataloaders_every_n_epochs": 1},
    "a loader with a state and one without": lambda: {"data": Mixed()},
    "a loader with a state that is read ahead": lambda: {"data": Ahead()},
    "workers of validation persist": lambda: {"data": Persists()},
}


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_fit_is_the_fit_that_was_never_cut(case: str, tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole", **CASES[case]())
    found = sorted((tmp_path / "whole").glob("*.ckpt"))
    for number in (0, 3, len(found) // 2, len(found) // 2 + 2, len(found) - 4, len(found) - 1):
        resumed = fit(tmp_path / f"resumed{number}", found[number], only="none", **CASES[case]())
        assert differences(whole, resumed) == [], found[number].name


def test_steps_of_validation_are_logged_where_the_uncut_run_logs_them(tmp_path: Path) -> None:
    def rows(name: str, start: Path | None = None) -> list[str]:
        logger = CSVLogger(tmp_path, name, version="")
        fit(tmp_path / f"of_{name}", start, module=LogsSteps(), logger=logger, log_every_n_steps=1)
        lines = [line.split(",") for line in (tmp_path / name / "metrics.csv").read_text().splitlines()]
        step, value = lines[0].index("step"), lines[0].index("val/step")
        return [line[step] for line in lines[1:] if line[value]]

    whole = rows("whole")
    assert whole == ["0", "1", "2"]
    assert rows("resumed", sorted((tmp_path / "of_whole").glob("*validation.ckpt"))[0]) == whole[1:]


class Found(Learner):
    def __init__(self) -> None:
        super().__init__()
        self.lr = 0.01

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), self.lr * 1e-3)


@pytest.mark.filterwarnings("ignore:.*lr_find.*", "ignore:The dirpath has changed", "ignore:Be aware that when using")
def test_a_finder_of_a_learning_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def find() -> list[Any]:
        return [LearningRateFinder(num_training_steps=4)]

    whole = fit(tmp_path / "whole", module=Found(), callbacks=find(), default_root_dir=tmp_path)
    path = sorted((tmp_path / "whole").glob("*.ckpt"))[4]
    assert differences(whole, fit(tmp_path / "resumed", path, module=Found())) == []
    assert "note:" not in capsys.readouterr().out
    fit(tmp_path / "found again", path, module=Found(), callbacks=find(), default_root_dir=tmp_path)
    assert "note: a LearningRateFinder or BatchSizeFinder has set training back" in capsys.readouterr().out


def test_another_number_of_loaders_is_an_error(tmp_path: Path) -> None:
    fit(tmp_path / "whole")
    with pytest.raises(ValueError, match="saved with 1 training loaders, and here are 2"):
        fit(tmp_path / "resumed", sorted((tmp_path / "whole").glob("*.ckpt"))[3], data="several")


def test_a_run_that_was_told_to_stop_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path / "whole", patience=0, max_epochs=8)
    assert "note:" not in capsys.readouterr().out
    fit(tmp_path / "resumed", sorted((tmp_path / "whole").glob("*.ckpt"))[-1], max_epochs=8)
    assert "note: training had been told to stop" in capsys.readouterr().out
