import io
import math
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from discrete_lightning.cli import main
from discrete_lightning.training.checkpoints import checkpoint_of_run
from tests.cli.conftest import TOY
from tests.cli.outcome import Cli, only_run
from tests.cli.toy import Scaled, Toy


@pytest.fixture
def run(toy: Cli) -> str:
    """Folder of a finished run of two epochs of two steps."""
    assert toy("fit", "--model.width=5").code == 0
    return str(only_run())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, made once."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "toy.yaml").write_text(TOY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "disabled")
        argv = ["fit", "--trust", "tests", "-c", str(folder / "toy.yaml"), "--model.width=5"]
        assert main([*argv, "--run_dir", str(folder / "run")]) == 0
    return folder / "run"


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


def _packed(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _damaged(kind: str, whole: bytes) -> bytes:
    content = torch.load(io.BytesIO(whole), weights_only=True)
    weights = content["state_dict"]
    place = whole.find(weights["layer.weight"].numpy().tobytes())
    diverged = {**weights, "layer.bias": torch.full((5,), math.nan)}
    table = {
        "is empty": b"",
        "is cut short": whole[: len(whole) // 2],
        "torch.save did not write it": b"hello, this is a text",
        "it holds a list": _packed([1, 2]),
        "holds weights alone": _packed(weights),
        "it has no 'state_dict'": _packed({"epoch": 3}),
        "cannot be read without running code": _packed(Planted()),
        "is damaged: its record archive/data/": whole[:place] + bytes([whole[place] ^ 64]) + whole[place + 1 :],
        "not finite in layer.bias:": _packed({**content, "state_dict": diverged}),
        "has no loops": _packed({key: value for key, value in content.items() if key != "loops"}),
        "has no optimizer_states": _packed({key: value for key, value in content.items() if key != "optimizer_states"}),
    }
    return table[kind]


@pytest.mark.parametrize(
    ("kind", "commands"),
    [
        ("is empty", ["test", "fit"]),
        ("is cut short", ["fit"]),
        ("torch.save did not write it", ["fit"]),
        ("it holds a list", ["fit"]),
        ("holds weights alone", ["fit"]),
        ("it has no 'state_dict'", ["fit"]),
        ("cannot be read without running code", ["predict"]),
        ("is damaged: its record archive/data/", ["predict"]),
        ("not finite in layer.bias:", ["test"]),
        ("has no loops", ["fit"]),
        ("has no optimizer_states", ["fit"]),
    ],
)
def test_a_damaged_checkpoint_is_named(cli: Cli, finished: Path, kind: str, commands: list[str]) -> None:
    last = Path("run/checkpoints/last.ckpt")
    shutil.copytree(finished, "run")
    last.write_bytes(_damaged(kind, last.read_bytes()))
    for command in commands:
        for which in ("last", "best"):
            outcome = cli(command, "--trust", "tests", "-c", "run", "--ckpt_path", which, "--run_dir", "out")
            assert outcome.code == 1
            assert kind in outcome.error
            assert "last.ckpt" in outcome.error
            assert len(outcome.error) < 500
    assert not Path("executed").exists()
    assert not Path("out").exists()


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize(
    "form", ["{0}", "{0}/checkpoints", "{0}/checkpoints/last.ckpt", "file://{0}/checkpoints/last.ckpt"]
)
def test_a_folder_means_its_last_checkpoint(cli: Cli, finished: Path, command: str, form: str) -> None:
    arguments = ("--trust", "tests", "-c", str(finished), "--run_dir", "out", "--trainer.max_epochs=3")
    outcome = cli(command, *arguments, "--ckpt_path", form.format(finished))
    assert (outcome.code, outcome.err) == (0, "")
    written = yaml.safe_load(Path("out/config.yaml").read_text())["ckpt_path"]
    assert written == str(finished / "checkpoints/last.ckpt")
    if command == "fit":
        assert "epoch 3/3" in outcome.out
        assert "epoch 2/3" not in outcome.out


def test_a_config_may_name_the_checkpoint_in_the_same_ways(cli: Cli, finished: Path) -> None:
    for given in ("last", "best", str(finished)):
        Path("own.yaml").write_text(f"ckpt_path: {given}")
        outcome = cli("fit", "--trust", "tests", "-c", str(finished), "-c", "own.yaml", "--trainer.max_epochs=2")
        assert "note: nothing was trained: the checkpoint has reached trainer.max_epochs (2)" in outcome.error


def test_a_folder_without_a_checkpoint(cli: Cli, finished: Path) -> None:
    Path("empty/checkpoints").mkdir(parents=True)
    for given in ("empty", "empty/checkpoints", "."):
        outcome = cli("test", "--trust", "tests", "-c", str(finished), "--ckpt_path", given)
        assert outcome.code == 1
        assert "holds no checkpoint: give a file, or the folder of a run, with --ckpt_path" in outcome.error


def test_a_checkpoint_of_another_family_and_of_a_later_version(cli: Cli, finished: Path) -> None:
    path = finished / "checkpoints/last.ckpt"
    arguments = ("--trust", "tests", "-c", str(finished), "--run_dir", "out", "--ckpt_path")
    outcome = cli("fit", *arguments, str(path), "--model=tests.cli.toy.Other")
    assert outcome.code == 1
    assert "is of another model: Toy wrote it, and this is Other" in outcome.error
    content = torch.load(path, weights_only=True)
    content["discrete_lightning"] |= {"version": "7.0", "format": 700}
    torch.save(content, "later.ckpt")
    for command in ("fit", "predict"):
        outcome = cli(command, *arguments, "later.ckpt")
        assert outcome.code == 1
        assert "later.ckpt was written by discrete_lightning 7.0 (format 700), and this is" in outcome.error
        assert "upgrade discrete_lightning" in outcome.error
    del content["discrete_lightning"]  # of an earlier version, or of Lightning alone
    torch.save(content, "earlier.ckpt")
    assert cli("predict", *arguments, "earlier.ckpt").code == 0


CHECKPOINTS = {
    "monitor: val/loss": ("epoch=1-step=4.ckpt", "last.ckpt"),
    "monitor: val/loss, mode: max, filename: 'a-{val/loss:.3f}'": ("a-val/loss=*.ckpt", "last.ckpt"),
    "monitor: val/loss, save_weights_only: true, save_top_k: 2, save_last: true": ("epoch=1-step=4.ckpt", "last.ckpt"),
    "": ("epoch=1-step=4.ckpt", "epoch=1-step=4.ckpt"),
    "every_n_epochs: 5": ("last.ckpt", "last.ckpt"),
    "dirpath: elsewhere, monitor: val/loss, save_last: true": ("../../elsewhere/epoch=1-step=4.ckpt", "last.ckpt"),
}


@pytest.mark.parametrize(("arguments", "expected"), CHECKPOINTS.items())
def test_any_model_checkpoint(toy: Cli, arguments: str, expected: tuple[str, str]) -> None:
    callback = f"{{class_path: ModelCheckpoint, init_args: {{{arguments}}}}}"
    Path("own.yaml").write_text(f"trainer: {{callbacks: [{callback}]}}")
    assert toy("fit", "-c", "own.yaml", "--run_dir", "run", "--test_after_fit=false").code == 0
    Path("run").rename("moved")
    for which, name in zip(("best", "last"), expected, strict=True):
        (path,) = Path("moved/checkpoints").glob(name)
        found = checkpoint_of_run(Path("moved"), which)
        assert found is not None
        assert found.resolve() == path.resolve()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--trainer.max_epochs=0"], "trainer.max_epochs is 0"),
        (["--trainer.limit_train_batches=0"], "trainer.limit_train_batches is 0"),
        (["--ckpt_path=last"], "the checkpoint has reached trainer.max_epochs (2): raise it to train on"),
    ],
)
def test_nothing_was_trained(cli: Cli, finished: Path, options: list[str], reason: str) -> None:
    outcome = cli("fit", "--trust", "tests", "-c", str(finished), *options)
    assert outcome.code == 0
    assert outcome.error == f"note: nothing was trained: {reason}"
    assert "result" not in outcome.out


def test_a_disk_that_is_full_at_the_second_epoch(toy: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    saves: list[object] = []

    def save(*arguments: object) -> None:
        saves.append(arguments)
        if len(saves) == 2:
            raise OSError(28, "No space left on device")
        whole(*arguments)

    whole = torch.save
    monkeypatch.setattr(torch, "save", save)
    outcome = toy("fit", "--run_dir", "run")
    assert outcome.code == 1
    assert "last.ckpt could not be written: No space left on device; what it held before is unchanged" in outcome.error
    assert "make room, then go on with: discrete-lightning fit -c run --trust tests --ckpt_path last" in outcome.error
    assert torch.load("run/checkpoints/last.ckpt", weights_only=True)["global_step"] == 2
    assert sorted(path.name for path in Path("run").iterdir()) == [
        "checkpoints",
        "config.yaml",
        "hparams.yaml",
        "metrics.csv",
    ]


def test_state_of_another_version(cli: Cli, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def on_load_checkpoint(self: Toy, checkpoint: dict[str, object]) -> None:
        checkpoint["beams"]

    monkeypatch.setattr(Toy, "on_load_checkpoint", on_load_checkpoint)
    outcome = cli("test", "--trust", "tests", "-c", run)
    assert outcome.code == 1
    assert "last.ckpt does not hold 'beams': another version of the code wrote it" in outcome.error
