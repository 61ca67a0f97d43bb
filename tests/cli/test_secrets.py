"""No key of the environment is written down, wherever a config takes it to."""

from pathlib import Path

import pytest
import torch
import yaml

from discrete_lightning.models import CategoricalVAE
from tests.cli.outcome import Cli, only_run
from tests.cli.toy import Toy

KEY = "0123456789abcdef-key"
PLAIN = "of-no-special-name"


def _places(text: str) -> list[Path]:
    """The files below the working directory that have the text in them, in UTF-8 or UTF-16."""
    forms = [text.encode(), text.encode("utf-16-le")]
    files = [path for path in Path().rglob("*") if path.is_file()]
    return [path for path in files if any(form in path.read_bytes() for form in forms)]


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WHERE_TO", PLAIN)
    monkeypatch.setenv("WANDB_MODE", "offline")


CONFIG = """\
model: {init_args: {failure: 'at ${oc.env:WANDB_API_KEY}, ${oc.env:WHERE_TO}'}}
"""


@pytest.mark.slow
def test_wandb_has_no_key_either(toy: Cli) -> None:
    Path("keys.yaml").write_text(CONFIG)
    outcome = toy("fit", "-c", "keys.yaml", "--run_dir", "run")
    assert outcome.code == 0, outcome.err
    assert list(Path("run/wandb").glob("offline-run-*"))
    assert not _places(KEY)
    assert not _places(PLAIN)


def test_no_file_of_the_run_has_a_key(toy: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    Path("keys.yaml").write_text(CONFIG)
    outcome = toy("fit", "-c", "keys.yaml", "--run_dir", "run")
    assert outcome.code == 0, outcome.err
    assert not _places(KEY)
    assert not _places(PLAIN)
    written = "at ${oc.env:WANDB_API_KEY}, ${oc.env:WHERE_TO}"
    assert yaml.safe_load(Path("run/config.yaml").read_text())["model"]["init_args"]["failure"] == written
    checkpoint = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["failure"] == written
    assert yaml.safe_load(Path("run/hparams.yaml").read_text())["failure"] == written
    # The config of the run can be used again.
    outcome = toy("test", "-c", "run", "--run_dir", "again")
    assert outcome.code == 0, outcome.err
    assert not _places(KEY)


def test_a_key_on_the_command_line_and_in_a_file_that_a_config_names(toy: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    Path("part.yaml").write_text("{class_path: tests.cli.toy.Toy, init_args: {failure: '${oc.env:WHERE_TO}'}}")
    Path("keys.yaml").write_text("model: part.yaml")
    assert toy("fit", "-c", "keys.yaml", "--run_dir", "run").code == 0
    assert not _places(PLAIN)
    assert toy("fit", f"--model.failure={KEY}", "--run_dir", "run2").code == 0
    assert not _places(KEY)


def test_an_error_does_not_show_a_key(toy: Cli) -> None:
    outcome = toy("check", f"--model.width={KEY}")
    assert outcome.code == 2
    assert KEY not in outcome.err
    assert "${oc.env:WANDB_API_KEY}" in outcome.error


def test_short_values_and_other_variables_stay(toy: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("WIDTH", "5")
    monkeypatch.setenv("OTHER", "some longer value")
    Path("w.yaml").write_text("model: {init_args: {width: '${oc.env:WIDTH}', failure: some longer value}}")
    assert toy("fit", "-c", "w.yaml").code == 0
    arguments = yaml.safe_load((only_run() / "config.yaml").read_text())["model"]["init_args"]
    assert (arguments["width"], arguments["failure"]) == (5, "some longer value")
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # lightning 2.6.6 calls an old name
    assert (
        Toy.load_from_checkpoint(only_run() / "checkpoints/last.ckpt", weights_only=True).failure == "some longer value"
    )


def test_load_from_checkpoint_asks_for_what_came_from_the_environment(tmp_path: Path) -> None:
    model = CategoricalVAE(4, 3, hidden=[8])
    model.change_record(lambda arguments: {**arguments, "hidden": ["${oc.env:SIZE}"]})
    checkpoint: dict[str, object] = {"state_dict": model.state_dict(), "pytorch-lightning_version": "2.6.6"}
    model.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "a.ckpt")
    with pytest.raises(
        ValueError, match="hidden came from the environment variable SIZE, which is not in the checkpoint"
    ):
        CategoricalVAE.load_from_checkpoint(tmp_path / "a.ckpt")
    assert CategoricalVAE.load_from_checkpoint(tmp_path / "a.ckpt", hidden=[8]).hparams["hidden"] == [8]
