"""Bad input to shipped recipes: one clear error, an exit code that is not 0, nothing half-written left."""

import gzip
from pathlib import Path

import pytest
import torch

from discrete_lightning.cli import main
from tests.small_mnist import few_batches, write_small_mnist

SCHEDULE = "--temperature.schedule.init_args"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_mnist(tmp_path_factory.mktemp("data"))


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int) -> str:
    """Runs the command, which must fail with one line on stderr; returns the line."""
    assert main(arguments) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1, lines
    assert not any("Traceback" in line for line in lines)
    return errors[0]


@pytest.mark.parametrize(
    ("config", "option", "code", "words"),
    [
        ("vq/quickstart", f"{SCHEDULE}.start=-1.0", 1, ["Exponential(start=-1.0", "below minimum"]),
        ("vq/quickstart", "--temperature.schedule={class_path: Constant, init_args: {value: 0}}", 1, ["positive", "0"]),
        ("vq/quickstart", f"{SCHEDULE}.rate=-1.0", 1, ["rate must not be negative"]),
        ("vae/mnist_categorical", "--model.temperature=0", 1, ["CategoricalVAE", "0 < minimum < init", "0"]),
        ("vae/mnist_categorical", "--model.categories=1", 1, ["categories >= 2", "1"]),
        ("vq/quickstart", "--model.estimator=GumbleSoftmax", 2, ["GumbleSoftmax", "GumbelSoftmax"]),
        ("vq/quickstart", "--model.class_path=VQAutoencodr", 2, ["VQAutoencodr", "VQAutoencoder"]),
        ("vq/quickstart", "--model.marginal_entrop=1", 2, ["marginal_entrop", "marginal_entropy"]),
        ("vq/quickstart", "--trainer.max_epoch=1", 2, ["max_epoch", "max_epochs"]),
        ("vq/quickstart", "--temperature.counts=epochs", 2, ["counts", "count"]),
        ("vq/mnist_ema", "--model.estimator=GumbelSoftmax", 1, ["VectorQuantizer", "no layer that samples"]),
        ("vq/mnist_ema", "--model.quantizer.init_args.decay=1.5", 1, ["decay must be in [0, 1)", "1.5"]),
        ("vq/quickstart", "--model.quantizer.init_args.num_codes=1", 1, ["num_codes >= 2", "1"]),
        ("nas/quickstart", "--model.method=GDSA", 2, ["GDSA", "GDAS"]),
        (
            "nas/quickstart",
            "--model.space.init_args.operations=[]",
            1,
            ["NASBench201", "operations are some of none, skip"],
        ),
        ("nas/quickstart", "--model.space.init_args.nodes=1", 1, ["nodes must be at least 2", "1"]),
        (
            "nas/target",
            "--model.cost.target=1000",
            1,
            ["the cost is limited to 1,000", "cheapest", "raise the target"],
        ),
        ("nas/target", "--trainer.precision=16-true", 1, ["16-true", "bf16-mixed"]),
    ],
)
def test_one_error_and_nothing_left(
    config: str,
    option: str,
    code: int,
    words: list[str],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = tmp_path / "runs"
    line = refused(["fit", "-c", config, *few_batches(config, data, runs), option], capsys, code)
    assert all(word in line for word in words), line
    assert not [path for path in runs.rglob("*") if path.is_file()]


CONSTRAINTS = "--model.constraints"


@pytest.mark.parametrize(
    ("config", "option", "code", "words"),
    [
        ("design/edit", "--model.start.init_args.sequence=ACGTXACG", 1, ["'X'", "position 4", "'ACGT'"]),
        ("design/edit", "--model.start.init_args.edit_weight=-1", 1, ["edit_weight", "-1"]),
        ("design/edit", "--model.alphabet=RNA", 1, ["'T'", "'ACGU'"]),
        ("design/quickstart", "--model.alphabet=A", 1, ["two or more"]),
        ("design/quickstart", "--model.start.init_args.length=0", 1, ["length must be at least 1", "0"]),
        ("design/quickstart", "--model.start.init_args.length=9", 1, ["TFBind8 scores 4 letters at 8 positions", "9"]),
        ("design/quickstart", "--model.search.init_args.chains=0", 1, ["plans its other settings itself", "chains"]),
        ("design/quickstart", "--model.search.init_args.calls=0", 1, ["calls must be at least 10", "0"]),
        ("design/gb1", "--model.search.init_args.chains=0", 1, ["chains must be at least 1", "0"]),
        ("design/quickstart", "--model.search.init_args.polish.proposals=0", 1, ["proposals must be at least 1"]),
        ("design/quickstart", "--model.search.init_args.stepz=3", 2, ["stepz", "steps"]),
        ("design/quickstart", "--model.designs=0", 1, ["designs must be at least 1", "got 0"]),
        ("design/two_oracles", "--model.oracle.init_args.weights=[1.0]", 1, ["2 oracles", "[1.0]"]),
        (
            "design/quickstart",
            CONSTRAINTS + "=[{class_path: FixedPositions, init_args: {letters: {6: ACG}}}]",
            1,
            ["FixedPositions", "'ACG' at position 6", "length 8"],
        ),
        (
            "design/quickstart",
            CONSTRAINTS + "=[{class_path: FixedPositions, init_args: {letters: {1: AAAA}}}, "
            "{class_path: MaxRepeat, init_args: {longest: 7}}, {class_path: MaxHomopolymer, init_args: {longest: 3}}]",
            1,
            ["no sequence of length 8 satisfies these together", "FixedPositions", "MaxHomopolymer"],
        ),
    ],
)
def test_designs_refused(
    config: str, option: str, code: int, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(["fit", "-c", config, *few_batches(config, tmp_path, tmp_path / "runs"), option], capsys, code)
    assert all(word in line for word in words), line
    assert "MaxRepeat" not in line  # what is innocent is not named
    assert not list(tmp_path.rglob("designs*"))


@pytest.mark.parametrize("damage", ["truncated", "no gzip", "another magic number"])
def test_damaged_idx_file(damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, runs = write_small_mnist(tmp_path / "data"), tmp_path / "runs"
    path = root / "mnist" / "train-images-idx3-ubyte.gz"
    content = path.read_bytes()
    path.write_bytes(
        {
            "truncated": content[: len(content) // 2],
            "no gzip": b"<html>not found</html>",
            "another magic number": gzip.compress(b"\x00\x00\x0d\x03" + gzip.decompress(content)[4:]),
        }[damage]
    )
    line = refused(["fit", "-c", "vq/mnist_ema", *few_batches("vq/mnist_ema", root, runs)], capsys, 1)
    assert str(path) in line
    assert not [path for path in runs.rglob("*") if path.is_file()]


def test_missing_data_names_the_folders_and_the_ways_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DISCRETE_LIGHTNING_DATA", raising=False)
    options = [*few_batches("vq/mnist_ema", tmp_path / "nowhere", tmp_path / "runs"), "--data.download=false"]
    line = refused(["fit", "-c", "vq/mnist_ema", *options], capsys, 1)
    assert all(word in line for word in (str(tmp_path / "nowhere"), "DISCRETE_LIGHTNING_DATA", "Digits"))


def test_nan_logits(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A diverged run (a learning rate of 1e30) ends with an error that names the cause, not with NaN codes."""
    options = [*few_batches("vq/quickstart", data, tmp_path / "runs"), "--model.learning_rate=1e30"]
    line = refused(["fit", "-c", "vq/quickstart", *options], capsys, 1)
    assert "rows of logits have no distribution" in line or "not finite" in line
    assert "learning rate" in line


def test_checkpoint_of_another_shape(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs"
    options = few_batches("vq/quickstart", data, runs)
    assert main(["fit", "-c", "vq/quickstart", *options]) == 0
    run = next(runs.rglob("config.yaml")).parent
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    capsys.readouterr()
    other = ["--model.quantizer.init_args.num_codes=64", f"--ckpt_path={run}/checkpoints/last.ckpt"]
    line = refused(["test", "-c", "vq/quickstart", *options, *other], capsys, 1)
    assert all(word in line for word in ("last.ckpt", "quantizer.codes", "128", "64"))
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["global_step"] == 3
