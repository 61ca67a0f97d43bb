"""A fit in gymnasium environments that is cut and resumed is, to the bit, the one that was not: in an epoch and at its end."""

import os
import socket
from pathlib import Path as File
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from discrete_lightning.control.methods import PPO, REINFORCE, SAC
from discrete_lightning.training.exact_resume import ExactResume
from tests.control.training.agents import assert_equal_states, state_of, tiny_agent, tiny_environments
from tests.ranks import run_on_ranks
from tests.tiny_images import quiet_trainer

_NORMS = {"norm_observations": True, "norm_rewards": True}
_CASES: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "PPO CartPole": (PPO, {"epochs": 2, "batch_size": 24}, {"environment": "CartPole-v1"}),
    "PPO Taxi processes": (PPO, {"epochs": 1, "batch_size": 24}, {"environment": "Taxi-v4", "processes": True}),
    "SAC FrozenLake": (SAC, {"batch_size": 32, "warm_up": 30}, {"environment": "FrozenLake-v1"}),
    "REINFORCE CartPole processes": (REINFORCE, {}, {"environment": "CartPole-v1", "processes": True}),
}
_ON_RANKS = ["PPO CartPole", "SAC FrozenLake"]


class Seen(Callback):
    """Keeps the observations of each rollout, and the state of the optimiser at the end."""

    def __init__(self) -> None:
        self.observations: list[Tensor] = []
        self.optimizer: Any = None

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        self.observations.append(module._seen.observations.clone())  # type: ignore[union-attr, operator]

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.optimizer = trainer.optimizers[0].state_dict()["state"]


class Saves(Checkpoint):
    """Writes a checkpoint after two updates of the first epoch, and one at its end."""

    def __init__(self, folder: File) -> None:
        self.middle, self.end = folder / "middle.ckpt", folder / "end.ckpt"

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        if trainer.current_epoch == 0 and index == 1:
            trainer.save_checkpoint(self.middle)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.current_epoch == 0:
            trainer.save_checkpoint(self.end)


def _fit(
    name: str, saves: Saves | None = None, resumed: File | None = None, **options: Any
) -> tuple[dict[str, Any], Seen]:
    method, arguments, data = _CASES[name]
    model, seen = tiny_agent(method(**arguments), **_NORMS), Seen()
    torch.manual_seed(99)
    trainer = quiet_trainer(
        limit_val_batches=0,
        max_epochs=2,
        callbacks=[seen, ExactResume(), *([saves] if saves else [])],
        enable_checkpointing=saves is not None,
        **options,
    )
    trainer.fit(model, datamodule=tiny_environments(2 if options else 4, updates=3, **data), ckpt_path=resumed)
    return state_of(model), seen


def _same(resumed: tuple[dict[str, Any], Seen], uncut: tuple[dict[str, Any], Seen], updates: int) -> None:
    assert_equal_states(resumed[0], uncut[0])
    found, expected = resumed[1], uncut[1]
    assert len(found.observations) == updates
    for one, other in zip(found.observations, expected.observations[-updates:], strict=True):
        assert torch.equal(one, other)
    torch.testing.assert_close(found.optimizer, expected.optimizer, rtol=0, atol=0)


@pytest.mark.parametrize("name", list(_CASES))
def test_a_resumed_fit_is_the_uncut_one(name: str, tmp_path: File, capsys: pytest.CaptureFixture[str]) -> None:
    saves = Saves(tmp_path)
    uncut = _fit(name, saves)
    _same(_fit(name, resumed=saves.middle), uncut, 4)
    _same(_fit(name, resumed=saves.end), uncut, 3)
    assert "note:" not in capsys.readouterr().out


def _on_a_rank(port: int, folder: str) -> None:
    os.environ |= {
        "RANK": str(torch.distributed.get_rank()), "LOCAL_RANK": str(torch.distributed.get_rank()), "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip
    for name in _ON_RANKS:
        saves = Saves(File(folder, name))
        uncut = _fit(name, saves, strategy="ddp", devices=2)
        _same(_fit(name, resumed=saves.middle, strategy="ddp", devices=2), uncut, 4)


def test_on_two_ranks(tmp_path: File) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run_on_ranks(_on_a_rank, port, str(tmp_path))
