from pathlib import Path

import pytest
import torch
import yaml

from tests.cli.outcome import Cli, only_run
from tests.cli.toy import Scaled, Toy


@pytest.fixture
def run(toy: Cli) -> str:
    """Folder of a finished run of two epochs of two steps."""
    assert toy("fit", "--model.width=5").code == 0
    return str(only_run())


@pytest.mark.parametrize("command", ["validate", "test"])
def test_a_run_is_evaluated_by_its_last_checkpoint(cli: Cli, run: str, command: str) -> None:
    outcome = cli(command, "--trust", "tests", "-c", run)
    assert outcome.code == 0
    assert outcome.err == ""
    assert "result" in outcome.out
    folder = only_run(f"runs/toy/*-{command}")
    assert (folder / "metrics.csv").exists()
    assert yaml.safe_load((folder / "config.yaml").read_text())["ckpt_path"].endswith("last.ckpt")
    again = cli(command, "--trust", "tests", "-c", f"{run}/config.yaml", "--ckpt_path", f"{run}/checkpoints/last.ckpt")
    assert [line for line in again.out.splitlines() if "loss" in line] == [
        line for line in outcome.out.splitlines() if "loss" in line
    ]


def test_a_checkpoint_rebuilds_its_model(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # lightning 2.6.6 calls an old name
    model = Toy.load_from_checkpoint(f"{run}/checkpoints/last.ckpt", weights_only=True)
    assert model.layer.weight.shape == (5, 4)
    assert model.choice == Scaled(2.0)


def test_predictions_are_written(cli: Cli, run: str) -> None:
    assert cli("predict", "--trust", "tests", "-c", run).code == 0
    batches = torch.load(only_run("runs/toy/*-predict") / "predictions.pt", weights_only=True)
    assert [batch.shape for batch in batches] == [(4, 5), (4, 5)]


def test_untrained_weights_are_pointed_out(toy: Cli) -> None:
    outcome = toy("test")
    assert outcome.code == 0
    assert "test uses untrained weights" in outcome.error


@pytest.mark.parametrize("name", ["last", "best", "path"])
def test_resuming_keeps_flags(cli: Cli, run: str, name: str) -> None:
    path = f"{run}/checkpoints/last.ckpt" if name == "path" else name
    options = ["--trainer.max_epochs=3", "--model.learning_rate=0.25"]
    outcome = cli("fit", "--trust", "tests", "-c", run, "--ckpt_path", path, *options)
    assert outcome.code == 0
    assert outcome.err == ""
    assert "epoch 3/3" in outcome.out
    assert "epoch 2/3" not in outcome.out
    (resumed,) = (folder for folder in Path("runs/toy").iterdir() if str(folder) != run)
    checkpoint = torch.load(resumed / "checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 6
    # Lightning's own command line would have let the checkpoint's 0.1 win, without a word.
    assert checkpoint["hyper_parameters"]["learning_rate"] == 0.25
    assert yaml.safe_load((resumed / "config.yaml").read_text())["model"]["init_args"]["learning_rate"] == 0.25


def test_a_checkpoint_of_another_shape(cli: Cli, run: str) -> None:
    outcome = cli("test", "--trust", "tests", "-c", run, "--model.width=7")
    assert outcome.code == 1
    assert outcome.error.startswith(
        f"the checkpoint {Path(run).resolve()}/checkpoints/last.ckpt does not fit this model"
    )
    assert "layer.weight is (5, 4) in the checkpoint and (7, 4) in the model; layer.bias is (5)" in outcome.error
    assert "Use the config it was trained with" in outcome.error
    assert not list(Path().glob("runs/toy/*-test"))


def test_a_checkpoint_of_another_model(cli: Cli, run: str) -> None:
    outcome = cli("test", "--trust", "tests", "-c", run, "--model=tests.cli.toy.Warm", "--model.width=5")
    assert outcome.code == 1
    assert "Missing key(s) in state_dict" in outcome.error
    assert "temperature" in outcome.error


def test_a_missing_checkpoint_lists_those_there_are(cli: Cli, run: str) -> None:
    outcome = cli("test", "--trust", "tests", "-c", run, "--ckpt_path", f"{run}/checkpoints/lst.ckpt")
    assert outcome.code == 1
    assert "that folder holds last.ckpt" in outcome.error
    Path(run, "checkpoints/last.ckpt").unlink()
    assert f"{run}/checkpoints holds no checkpoint" in cli("test", "--trust", "tests", "-c", run).error


def test_last_needs_a_run(toy: Cli) -> None:
    assert "-c names no run folder" in toy("fit", "--ckpt_path", "last").error


class Planted:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("executed"),)


@pytest.mark.parametrize("content", ["code", "text", "tensor"])
def test_files_that_are_no_checkpoints(toy: Cli, content: str) -> None:
    if content == "text":
        Path("bad.ckpt").write_text("no checkpoint")
    else:
        torch.save(Planted() if content == "code" else {"weight": torch.ones(2)}, "bad.ckpt")
    outcome = toy("test", "--ckpt_path", "bad.ckpt")
    assert outcome.code == 1
    assert "bad.ckpt cannot be read" in outcome.error
    assert len(outcome.error) < 500
    assert not Path("executed").exists()
    assert not list(Path().glob("runs/*"))


def test_state_of_another_version(cli: Cli, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def on_load_checkpoint(self: Toy, checkpoint: dict[str, object]) -> None:
        checkpoint["beams"]

    monkeypatch.setattr(Toy, "on_load_checkpoint", on_load_checkpoint)
    outcome = cli("test", "--trust", "tests", "-c", run)
    assert outcome.code == 1
    assert "last.ckpt does not hold 'beams': another version of the code wrote it" in outcome.error
