import os
import subprocess
import sys
from pathlib import Path

import pytest

from discrete_lightning.training.run_folder import claim_folder, is_first_process
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
