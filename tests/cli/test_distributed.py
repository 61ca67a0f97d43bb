import csv
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from discrete_lightning.training.run_folder import claim_folder, discard_folder, is_first_process
from tests.cli.outcome import only_run


def test_two_processes_share_one_folder() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "discrete_lightning.cli", "fit", "-c", "toy.yaml", "--trust", "tests"]
    options = ["--trainer.strategy=ddp", "--trainer.devices=2", "--trainer.max_epochs=1"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, env=environment, timeout=200)
    assert done.returncode == 0, done.stderr
    run = only_run()
    assert sorted(path.name for path in run.iterdir()) == ["checkpoints", "config.yaml", "hparams.yaml", "metrics.csv"]
    assert done.stdout.count("result") == done.stdout.count("run: ") == 1


def test_processes_that_lightning_forks_lose_nothing() -> None:
    """The closing test has processes, and loggers, of its own."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "discrete_lightning.cli", "fit", "-c", "toy.yaml", "--trust", "tests"]
    options = ["--trainer.strategy=ddp_fork", "--trainer.devices=1", "--run_dir=run"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, env=environment, timeout=200)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(Path("run/metrics.csv").read_text().splitlines()))
    assert [name for name in ("train/loss", "val/loss", "test/loss") if any(row[name] for row in rows)] == [
        "train/loss",
        "val/loss",
        "test/loss",
    ]
    assert Path("run/checkpoints/last.ckpt").exists()


def test_one_run_claims_a_folder_and_the_others_touch_nothing() -> None:
    def claim(number: int) -> int | None:
        start.wait()
        try:
            claim_folder(Path("runs"), exact=Path("run"), config=f"run: {number}")
        except FileExistsError:
            return None
        return number

    start = threading.Barrier(8)
    with ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(claim, range(8)) if number is not None]
    assert len(winners) == 1
    assert Path("run/config.yaml").read_text() == f"run: {winners[0]}"


@pytest.mark.parametrize("name", ["metrics.csv", "checkpoints/last.ckpt", "deep/codes.png", "predictions.pt"])
def test_a_folder_that_holds_results_is_never_discarded(name: str) -> None:
    folder = claim_folder(Path("runs/toy"), config="model: x")
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    discard_folder(folder)
    assert path.exists()
    assert (folder / "config.yaml").exists()
    path.unlink()
    discard_folder(folder)
    assert not Path("runs/toy").exists()


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0", "RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "RANK": "4"}, False),
        ({"NODE_RANK": "1"}, False),
        ({"SLURM_PROCID": "2"}, False),
        ({"SLURM_PROCID": "0"}, True),
    ],
)
def test_only_rank_zero_makes_the_folder(
    environment: dict[str, str], first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISCRETE_LIGHTNING_RUN_DIR", raising=False)
    for variable in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert is_first_process() is first
    folder = claim_folder(Path("runs/toy"))
    assert folder.exists() is first
    monkeypatch.setenv("DISCRETE_LIGHTNING_RUN_DIR", "known")
    assert (claim_folder(Path("runs/toy")) == Path("known")) is not first
