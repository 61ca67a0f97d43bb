"""A fit that is cut after any of its checkpoints, and resumed, is the fit that was never cut: draws, batches and state."""

import os
import random
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader

from discrete_lightning.callbacks import ChoiceMonitor, ExactResume
from discrete_lightning.training.checkpoint_io import RunCheckpointIO
from discrete_lightning.training.resuming.holders import generators_of, holder_states, parts_of_loader
from discrete_lightning.training.resuming.random_state import holder_state, set_holder_state
from tests.ranks import run_on_ranks
from tests.training.resumed_module import Noisy, differences, fit

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulation": {"accumulate_grad_batches": 2},
    "manual": {"model": {"manual": True}},
    "manual accumulation": {"model": {"manual": True, "gather": 2}},
    "validation in the epoch": {"val_check_interval": 2},
    "validation every second epoch": {"check_val_every_n_epoch": 2},
    "counted in steps": {"max_steps": 12, "max_epochs": -1},
    "plateau": {"model": {"plateau": True}},
    "steps are estimated": {"model": {"estimates": True}},
    "stops early": {"patience": 1, "max_epochs": 8},
    "a stream": {"data": "stream"},
    "workers": {"data": "workers"},
    "several loaders": {"data": "several"},
    "a loader's generator": {"data": "own generator"},
    "a loader with a state": {"data": "state"},
    "fewer batches": {"limit_train_batches": 3},
    "reloaded": {"reload_dataloaders_every_n_epochs": 2},
}
EVERY_CHECKPOINT = ("accumulation",)

pytestmark = pytest.mark.filterwarnings("ignore:.*many workers.*")


def chosen(folder: Path) -> list[Path]:
    """Before the first batch, in the middle of the first epoch, at each kind of end, in the second epoch, at the end of all."""
    found = sorted(folder.glob("*.ckpt"))
    validation = next((i for i, path in enumerate(found) if "validation" in path.name), 4)
    epoch = next((i for i, path in enumerate(found) if "epoch" in path.name), 4)
    return [found[i] for i in sorted({0, 3, validation - 1, validation, epoch, epoch + 1, epoch + 5, len(found) - 1})]


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_fit_is_the_fit_that_was_never_cut(case: str, tmp_path: Path) -> None:
    options = CASES[case]
    whole = fit(tmp_path / "whole", **options)
    found = sorted((tmp_path / "whole").glob("*.ckpt"))
    for number, path in enumerate(found if case in EVERY_CHECKPOINT else chosen(tmp_path / "whole")):
        resumed = fit(tmp_path / f"resumed{number}", path, **options)
        assert differences(whole, resumed) == [], path.name


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_without_it_a_resumed_fit_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.training.resumed_module.ExactResume", Callback)
    whole = fit(tmp_path / "whole")
    with pytest.warns(UserWarning, match="ended before the epoch ended"):
        resumed = fit(tmp_path / "resumed", sorted((tmp_path / "whole").glob("*.ckpt"))[1])
    assert {"weights", "seen", "next"} <= set(differences(whole, resumed))


def test_a_resumed_fit_can_be_cut_again(tmp_path: Path) -> None:
    whole = fit(tmp_path / "0")
    for number, cut in enumerate((1, 3, 12)):
        found = sorted((tmp_path / str(number)).glob("*.ckpt"))
        resumed = fit(tmp_path / str(number + 1), found[cut])
        assert differences(whole, resumed) == []


def cut_on_ranks(folder: str, port: int) -> list[str]:
    rank = torch.distributed.get_rank()
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "NODE_RANK": "0",
        "GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip
    options: dict[str, Any] = {"devices": 2, "strategy": "ddp", "model": {"rank": rank}, "accumulate_grad_batches": 2}
    whole = fit(Path(folder) / "whole", **options)
    found = []
    for number, path in enumerate(chosen(Path(folder) / "whole")):
        resumed = fit(Path(folder) / f"resumed{number}", path, **options)
        found += [f"{path.name} {name}" for name in differences(whole, resumed)]
    return [*found, f"{whole['seen'][-1][-1]}"]


def test_each_rank_goes_on_with_its_own_state(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    first, second = run_on_ranks(cut_on_ranks, str(tmp_path), port)
    assert len(first) == len(second) == 1, first + second
    assert first != second  # the noise of the two


def test_a_checkpoint_in_the_middle_of_a_step_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Saves(Callback):
        def on_before_optimizer_step(self, trainer: Trainer, *_: Any) -> None:
            if trainer.global_step == 2 and not (tmp_path / "mid.ckpt").exists():
                trainer.save_checkpoint(tmp_path / "mid.ckpt", weights_only=False)

    fit(tmp_path / "whole", callbacks=[Saves()])
    capsys.readouterr()
    with pytest.warns(UserWarning, match="ended before the epoch ended"):
        fit(tmp_path / "resumed", tmp_path / "mid.ckpt")
    assert "note: the checkpoint was saved in the middle of a step" in capsys.readouterr().out


def test_a_checkpoint_without_its_state_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path / "whole")
    last = next((tmp_path / "whole").glob("*epoch.ckpt"))
    checkpoint = torch.load(last, weights_only=True)
    del checkpoint["exact_resume"]
    torch.save(checkpoint, tmp_path / "older.ckpt")
    capsys.readouterr()
    fit(tmp_path / "resumed", tmp_path / "older.ckpt")
    assert "note: the checkpoint was saved without ExactResume" in capsys.readouterr().out


def test_its_state_is_read_without_running_code(tmp_path: Path) -> None:
    fit(tmp_path)
    for path in tmp_path.glob("*.ckpt"):
        assert torch.load(path, weights_only=True)["exact_resume"]["ranks"]


class Ordinary(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Linear(5, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss = self.net(batch).square().mean()
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


def test_the_ordinary_state_is_a_few_kb(tmp_path: Path) -> None:
    seed_everything(0, verbose=False)
    keep = ModelCheckpoint(tmp_path, "last")
    trainer = Trainer(max_epochs=1, accelerator="cpu", logger=False, callbacks=[keep, ExactResume()])
    trainer.fit(Ordinary(), DataLoader(torch.rand(8, 5), 4, shuffle=True))  # type: ignore[arg-type]
    torch.save(torch.load(tmp_path / "last.ckpt", weights_only=True)["exact_resume"], tmp_path / "alone")
    assert (tmp_path / "alone").stat().st_size <= 10_000
    assert isinstance(trainer.strategy.checkpoint_io, RunCheckpointIO)


@pytest.mark.parametrize("name", ["torch", "python", "numpy", "old numpy", "philox", "twister"])
def test_a_generator_draws_on(name: str) -> None:
    makes: dict[str, Any] = {
        "torch": lambda: torch.Generator().manual_seed(0),
        "python": lambda: random.Random(0),
        "numpy": lambda: np.random.default_rng(0),
        "old numpy": lambda: np.random.RandomState(0),
        "philox": lambda: np.random.Generator(np.random.Philox(0)),
        "twister": lambda: np.random.Generator(np.random.MT19937(0)),
    }

    def draw(holder: Any) -> list[float]:
        if isinstance(holder, torch.Generator):  # an odd number of normal ones: the next waits in the state
            return [*torch.randn(3, generator=holder).tolist(), *torch.rand(700, generator=holder).tolist()]
        return [float(holder.gauss(0, 1) if isinstance(holder, random.Random) else holder.normal()) for _ in range(701)]

    one, other = makes[name](), makes[name]()
    draw(one)
    state = holder_state(one)
    expected = draw(one)
    set_holder_state(other, state)
    assert draw(other) == expected


def test_generators_are_found_where_loaders_keep_them() -> None:
    data = torch.utils.data.ConcatDataset([Noisy(3), torch.utils.data.Subset(Noisy(4), [0, 1])])
    loader = DataLoader(data, 2, shuffle=True, generator=torch.Generator())
    found = generators_of(parts_of_loader("training0", loader))
    assert set(found) == {
        "training0.generator",  # the sampler's is the same object
        "training0.dataset.datasets.own",
        "training0.dataset.datasets1.dataset.own",
    }
    assert set(holder_states(found)) == set(found)


def test_a_callback_says_what_its_state_of_a_rank_is() -> None:
    from discrete_lightning.protocols import HasRankState

    assert isinstance(ChoiceMonitor(), HasRankState)
    assert not isinstance(ExactResume(), HasRankState)
