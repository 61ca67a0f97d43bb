"""Output that cannot be written, and terminals that are narrow."""

import errno
import io
import subprocess
import sys
from pathlib import Path

import pytest

from discrete_lightning.cli import main
from discrete_lightning.training.run_report import print_metrics
from tests.cli.outcome import Cli, only_run


class Gone(io.StringIO):
    """A stream whose reader is gone, or whose disk is full, from the second line on."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number, self.writes = number, 0

    def write(self, text: str) -> int:
        self.writes += 1
        if self.writes > 1:
            raise OSError(self.number, "No space left on device")  # OSError makes a BrokenPipeError of EPIPE
        return super().write(text)


def test_a_closed_pipe_is_no_error_and_the_run_goes_on(
    toy: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", Gone(errno.EPIPE))
    assert main(["fit", "--trust", "tests", "-c", "toy.yaml"]) == 0
    assert capsys.readouterr().err == ""
    assert (only_run() / "checkpoints" / "last.ckpt").exists()


def test_a_full_disk_is_one_line_and_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", Gone(errno.ENOSPC))
    assert main(["fit", "--trust", "tests", "-c", "toy.yaml"]) == 1
    assert capsys.readouterr().err == "error: the output cannot be written: No space left on device\n"
    assert (only_run() / "checkpoints" / "last.ckpt").exists()


def test_a_real_pipe_that_is_closed() -> None:
    command = [sys.executable, "-m", "discrete_lightning.cli", "ls"]
    root = str(Path(__file__).parents[2])
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={"PYTHONPATH": root})
    assert started.stdout is not None
    started.stdout.close()
    assert started.stderr is not None
    assert (started.stderr.read(), started.wait(60)) == (b"", 0)
    started.stderr.close()


@pytest.mark.parametrize("columns", [20, 100])
def test_names_of_metrics_are_never_broken(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    print_metrics([{"test/reconstruction": 0.125, "test/relaxation_gap": -1.5}])
    out = capsys.readouterr().out
    assert "test/reconstruction" in out
    assert "test/relaxation_gap" in out
    assert ("━" in out) == (columns == 100)
