import os
import subprocess
import sys
from pathlib import Path

import pytest
import wandb

from tests.cli.outcome import Cli, only_run

_LINE = "W&B logs offline, because there is no API key: run `wandb login` to log online"


def _offline_files() -> list[Path]:
    return sorted(Path().glob("runs/toy/*/wandb/offline-run-*/run-*.wandb"))


def test_offline_without_a_key_a_prompt_or_a_home(tmp_path: Path) -> None:
    """In a separate process, since W&B reads its settings once a process."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    environment = {**keep, "NETRC": str(tmp_path / "none"), "PYTHONPATH": os.getcwd()}
    environment.pop("HOME", None)
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "discrete_lightning.cli", "fit", "-c", "toy.yaml", "--trust", "tests"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert not any("INFO" in line for line in done.stdout.splitlines())  # of W&B's server
    (line,) = (line for line in done.stdout.splitlines() if "W&B" in line or "wandb:" in line)
    assert line.startswith(_LINE)
    (file,) = _offline_files()
    content = file.read_bytes()
    for logged in (b"train/loss", b"test/loss", b"learning_rate", b"log_every_n_steps"):
        assert logged in content
    assert f"  wandb/{file.parent.name}/" in done.stdout.splitlines()


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A server that does not answer, and a key for it. The modes in which runs were started."""
    modes: list[str] = []
    start = wandb.init

    def init(**options: object) -> object:
        modes.append(str(options.get("mode", "online")))
        if modes[-1] == "online":
            raise wandb.errors.CommError("Timed out while retrying: no such host\nConsider increasing init_timeout")
        return start(**options)  # type: ignore[arg-type]

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(wandb, "login", lambda prompt, verify: not prompt and not verify)
    monkeypatch.setattr(wandb, "setup", lambda: type("Setup", (), {"settings": wandb.Settings(mode="online")}))
    monkeypatch.delenv("WANDB_MODE")
    return modes


def test_offline_when_the_server_does_not_answer(toy: Cli, online: list[str]) -> None:
    outcome = toy("fit")
    assert outcome.code == 0
    assert online == ["online", "offline"]
    (line,) = (line for line in outcome.out.splitlines() if "W&B" in line)
    assert "did not answer (Timed out while retrying: no such host" in line
    assert len(_offline_files()) == 1
    assert wandb.run is None


def test_wandb_mode_and_options_are_respected(toy: Cli, online: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert toy("fit", "--wandb.enabled=false").code == 0
    assert toy("predict").code == 0
    assert online == []
    monkeypatch.setenv("WANDB_MODE", "offline")
    outcome = toy("fit", "--wandb.project=mine", "--run_dir=named")
    assert outcome.code == 0
    assert "W&B" not in outcome.out
    assert online == ["offline"]
    (file,) = Path("named").glob("wandb/offline-run-*/run-*.wandb")
    assert b"mine" in file.read_bytes()


def test_a_mistyped_mode_is_named_and_leaves_no_folder(toy: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "ofline")
    outcome = toy("fit")
    assert outcome.code == 1
    assert outcome.error.startswith("WANDB_MODE='ofline' is none of online, offline, disabled")
    assert not list(Path().glob("runs/*"))


def test_online_without_a_key_names_the_key(toy: Cli, online: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr(wandb, "login", lambda prompt, verify: False)
    outcome = toy("fit")
    assert outcome.out.startswith(_LINE)
    assert online == ["offline"]


def test_wandb_dir_is_respected_and_the_upload_named(
    toy: Cli, online: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", "elsewhere")
    outcome = toy("fit")
    assert not (only_run() / "wandb").exists()
    (run,) = Path("elsewhere/wandb").glob("offline-run-*")
    assert f"  wandb sync {run}" in outcome.out.splitlines()


def test_wandb_disabled(toy: Cli, online: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert toy("fit").code == 0
    assert online == []
    assert not (only_run() / "wandb").exists()
