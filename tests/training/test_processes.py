"""How other processes ended, as the system and launchers tell."""

import os
import signal
import subprocess
import sys
import time

import pytest
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from discrete_lightning.training.launched import LostProcess, error_of_child, why_ended
from discrete_lightning.training.processes import Ends, exit_code_of, machine

linux = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux alone tells of the ends of other processes")


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "1000"])


@linux
def test_the_end_of_a_process_is_seen_at_once_and_once() -> None:
    one, other = sleeper(), sleeper()
    ends = Ends([one.pid, other.pid])
    assert ends.wait(0.0) == []
    one.kill()
    assert ends.wait(10.0) == [one.pid]
    assert exit_code_of(one.pid) == -signal.SIGKILL
    assert ends.wait(0.0) == []
    assert exit_code_of(other.pid) is None  # it runs
    other.terminate()
    other.wait()
    assert exit_code_of(other.pid) is None  # its parent has asked
    assert Ends([one.pid, other.pid]).wait(0.0) == [other.pid, one.pid]
    one.wait()
    ends.close()


@linux
def test_exit_codes_of_ended_processes() -> None:
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    assert Ends([process.pid]).wait(30.0) == [process.pid]
    time.sleep(0.05)
    assert exit_code_of(process.pid) == 3
    process.wait()


def test_how_an_end_is_told() -> None:
    assert why_ended(None) == "is gone"
    assert why_ended(3) == "ended with exit code 3"
    assert why_ended(-9) == "was ended by SIGKILL (as the system does when memory runs out)"
    assert "/" in machine()


def test_errors_of_started_processes() -> None:
    assert error_of_child(ValueError("own")) is None
    error = error_of_child(ProcessExitedException("x", 1, 12, -15, "SIGTERM"))
    assert isinstance(error, LostProcess)
    assert str(error) == "rank 1 (pid 12) was ended by SIGTERM"
    text = """

-- Process 1 terminated with the following error:
Traceback (most recent call last):
  File "/venv/site-packages/torch/multiprocessing/spawn.py", line 96, in _wrap
    fn(i, *args)
  File "/home/me/model.py", line 3, in training_step
    1 / 0
ZeroDivisionError: division by zero
"""
    error = error_of_child(ProcessRaisedException(text, 1, 12))
    assert isinstance(error, LostProcess)
    assert str(error) == "rank 1: ZeroDivisionError: division by zero (--traceback shows all of it)"
    assert error.frames == '  File "/home/me/model.py", line 3, in training_step\n    1 / 0'
