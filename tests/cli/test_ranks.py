"""A fit on two ranks of which one dies or gets a signal. All launchers and causes: `python -m benchmarks.reliability.ranks`."""

import os
import signal
from pathlib import Path

import pytest
import torch

from benchmarks.reliability.hosts import NoHosts, fit, two_hosts
from benchmarks.reliability.launches import launch
from benchmarks.reliability.ranks import is_equal
from tests.small_mnist import write_small_mnist


def test_a_rank_that_dies_ends_the_others_with_one_line(tmp_path: Path) -> None:
    run = launch("ddp", tmp_path, "--model.pause=0.1", "--model.mark=2")
    run.wait_for("step")
    pid = run.pid(1)
    os.kill(pid, signal.SIGKILL)
    code, text = run.end()
    assert (code, run.orphans()) == (1, [])
    (line,) = text.splitlines()
    assert line.startswith(f"error: rank 1 (pid {pid} on ")
    assert "was ended by SIGKILL" in line
    assert line.endswith("the others cannot go on; there is no checkpoint to resume from")


def test_a_signal_to_one_rank_is_heard_by_all_at_one_batch(tmp_path: Path) -> None:
    run = launch("ddp", tmp_path, "--model.pause=0.1", "--model.mark=2")
    run.wait_for("step")
    os.kill(run.pid(1), signal.SIGTERM)
    code, text = run.end()
    assert (code, run.orphans()) == (143, [])
    (line,) = text.splitlines()
    assert line.startswith("interrupted by SIGTERM (exit code 143); the weights are in ")
    (last,) = tmp_path.glob("runs/*/*/checkpoints/last.ckpt")
    saved = torch.load(last, weights_only=True)
    progress = saved["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]
    assert len(set(progress.values())) == 1  # nothing was half done
    assert saved["global_step"] == progress["ready"] >= 3


@pytest.mark.slow
def test_torchrun_goes_on_in_the_same_folder(tmp_path: Path) -> None:
    options = ["--model.failure=exit", "--model.fail_at=11", "--model.mark=11"]
    code, text = launch("torchrun", tmp_path, *options, before=("--max-restarts=1",)).end()
    assert code == 0, text
    (run,) = tmp_path.glob("runs/*/*")
    assert f"note: attempt 2: goes on in {run.relative_to(tmp_path)} from last.ckpt" in text
    steps = [line.split(",")[1] for line in (run / "metrics.csv").read_text().splitlines()[1:]]
    assert sorted({int(each) for each in steps if each}) == list(range(25))


@pytest.mark.slow
def test_two_hosts_train_as_one(tmp_path: Path) -> None:
    data = write_small_mnist(tmp_path / "data")
    try:
        with two_hosts() as hosts:
            both = fit("torchrun", "vq/quickstart", tmp_path / "vq/two", data, hosts)
    except NoHosts as reason:
        pytest.skip(str(reason))
    one = fit("torchrun", "vq/quickstart", tmp_path / "vq/one", data, [])
    assert is_equal(torch.load(both, weights_only=True), torch.load(one, weights_only=True))
