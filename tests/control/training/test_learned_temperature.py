"""LearnedTemperature: where tau ends, what a run says and writes, resuming, precision, ranks, what is refused."""

import csv
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from discrete_lightning.control.training.learned_temperature import LearnedTemperature
from discrete_lightning.models import LearnedTemperature as OfTheFace
from tests.control.training.temperature_on_ranks import learned_on_a_rank, temperatures
from tests.ranks import run_on_ranks
from tests.tiny_images import quiet_trainer

BETAS = [0.03, 0.1, 0.3]


def trained(folder: Path, *arguments: Any, precision: Any = None, **named: Any) -> tuple[LearnedTemperature, Any]:
    model = LearnedTemperature(*arguments, **named)
    trainer = quiet_trainer(default_root_dir=folder, precision=precision)
    trainer.fit(model)
    (figures,) = trainer.test(model, verbose=False)
    return model, figures


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_soft_q_on_frozen_lake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, figures = trained(tmp_path, betas=BETAS)
    assert (model.temperatures() / model.truth - 1).abs().max() < 0.01
    assert model.truth.tolist() == BETAS
    assert figures["test/temperature_error"] < 0.01
    assert figures["test/temperature"] == pytest.approx(0.3, rel=0.01)
    assert figures["test/temperature/beta_0.03"] == pytest.approx(0.03, rel=0.01)
    assert "flat" not in capsys.readouterr().out
    rows = rows_of(tmp_path / "temperature.csv")
    assert [float(row["temperature"]) for row in rows] == pytest.approx(model.temperatures().tolist())
    assert [float(row["truth"]) for row in rows] == BETAS
    assert {row["flat"] for row in rows} == {"False"}
    assert (tmp_path / "temperature.png").stat().st_size


@pytest.mark.parametrize("environment", ["CliffWalking-v1", "Taxi-v4"])
def test_soft_q_at_the_bonus_that_is_steep_everywhere(environment: str, tmp_path: Path) -> None:
    model, figures = trained(tmp_path, environment, [0.3], updates=250)
    assert figures["test/temperature_error"] < 0.01
    assert model.temperatures().tolist() == pytest.approx([0.3], rel=0.01)


def test_flat_gradients_are_said_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, figures = trained(tmp_path, "CliffWalking-v1", [0.03, 0.1, 0.3], updates=150)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert [line.split(":")[1] for line in lines] == [f" CliffWalking-v1, beta {beta}" for beta in (0.03, 0.1)]
    assert "the gradient is flat" in lines[0]
    assert model.temperatures()[0] > 1.5 * 0.03
    assert figures["test/temperature_error"] < 0.01
    _, figures = trained(tmp_path / "all", "CliffWalking-v1", [0.03], updates=2)
    assert "test/temperature_error" not in figures


def test_learned_normed_logits(tmp_path: Path) -> None:
    model, figures = trained(tmp_path, betas=[0.1, 0.3], logits="learned", updates=400)
    assert model.truth.tolist() == pytest.approx([0.8745, 0.9545], abs=5e-5)
    assert figures["test/temperature_error"] < 0.01


def test_sampled_episodes(tmp_path: Path) -> None:
    arguments = {"gradient": "episodes", "episodes": 128, "updates": 150, "learning_rate": 0.1}
    model, figures = trained(tmp_path, betas=[0.1, 0.3], **arguments)
    assert figures["test/temperature_error"] < 0.1
    assert (model.temperatures().diff() > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sampled_episodes_as_the_config_has_them(seed: int, tmp_path: Path) -> None:
    model, figures = trained(tmp_path, betas=BETAS, gradient="episodes", seed=seed)
    assert figures["test/temperature_error"] < 0.1
    assert (model.temperatures().diff() > 0).all()


def test_bf16_true_keeps_the_tables(tmp_path: Path) -> None:
    for gradient in ("exact", "episodes"):
        arguments: dict[str, Any] = {"betas": [0.1], "gradient": gradient, "updates": 4, "episodes": 4}
        whole, _ = trained(tmp_path / f"{gradient}32", **arguments, logits="learned")
        half, _ = trained(tmp_path / f"{gradient}16", **arguments, logits="learned", precision="bf16-true")
        assert torch.equal(half.temperatures(), whole.temperatures())
        assert half.policy_logits().dtype == torch.float64
        assert {each.dtype for each in half.parameters()} == {torch.float32}


def test_what_is_logged(tmp_path: Path) -> None:
    model = LearnedTemperature(betas=[0.1, 0.3], updates=3)
    trainer = quiet_trainer(default_root_dir=tmp_path, logger=CSVLogger(tmp_path, "", ""), log_every_n_steps=1)
    trainer.fit(model)
    rows = rows_of(tmp_path / "metrics.csv")
    assert len(rows) == 3
    for name in ("temperature", "error", "gradient"):
        assert {f"{name}/beta_0.1", f"{name}/beta_0.3"} <= set(rows[0])
    assert float(rows[0]["temperature/beta_0.1"]) == pytest.approx(1.0)
    assert float(rows[0]["error/beta_0.1"]) == pytest.approx(9.0)
    slope = model.derivative(torch.ones(2, dtype=torch.float64))[1]
    assert float(rows[0]["gradient/beta_0.1"]) == pytest.approx(slope[0].item(), rel=1e-4)


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_resumed_it_learns_the_same(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {
        "betas": [0.1],
        "gradient": "episodes",
        "logits": "learned",
        "episodes": 4,
        "updates": 6,
    }
    keep = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=3, save_on_train_epoch_end=False)
    whole = LearnedTemperature(**arguments)
    quiet_trainer(default_root_dir=tmp_path, enable_checkpointing=True, callbacks=[keep]).fit(whole)
    second = LearnedTemperature(**arguments)
    trainer = quiet_trainer(default_root_dir=tmp_path)
    trainer.fit(second, ckpt_path=tmp_path / "step=3.ckpt", weights_only=True)
    assert trainer.global_step == 6
    assert torch.equal(second.temperatures(), whole.temperatures())
    assert torch.equal(second.policy_logits(), whole.policy_logits())
    loaded = LearnedTemperature.load_from_checkpoint(tmp_path / "step=6.ckpt")
    assert torch.equal(loaded.temperatures(), whole.temperatures())
    assert loaded.betas == (0.1,)


def test_two_ranks_learn_what_one_learns() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    first, second = run_on_ranks(learned_on_a_rank, port)
    assert first == second
    assert first == [temperatures("exact"), temperatures("episodes")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"logits": "learned", "normed": False}, "wherever the learning rates take it. Leave normed=True"),
        ({"logits": "free"}, "logits must be 'soft_q' or 'learned', got 'free'"),
        ({"gradient": "sampled"}, "gradient must be 'exact' or 'episodes'"),
        ({"betas": []}, "betas are one or more different numbers"),
        ({"betas": [0.1, 0.1]}, "betas are one or more different numbers"),
        ({"betas": [0.1, float("nan")]}, "must be positive and finite, got nan"),
        ({"betas": [0.0001]}, "each at least 0.001"),
        ({"gamma": 1.0}, "gamma must be at least 0 and below 1, got 1"),
        ({"updates": 0}, "updates must be at least 1"),
        ({"episodes": 1}, "episodes must be at least 2"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"environment": "CartPole-v1"}, "CartPoleEnv holds no tables"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LearnedTemperature(**arguments)


def test_the_face() -> None:
    assert OfTheFace is LearnedTemperature


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the trainer's root, where a program happens to run
    model = LearnedTemperature(betas=[0.3], updates=2)
    trainer = quiet_trainer()
    trainer.fit(model)
    trainer.test(model, verbose=False)
    assert list(tmp_path.iterdir()) == []
