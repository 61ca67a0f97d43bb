import signal
from pathlib import Path

import pytest
import torch

from discrete_lightning.protocols import OutsideFault
from tests.cli.outcome import Cli, only_run


def test_ctrl_c_saves_and_says_how_to_resume(toy: Cli, cli: Cli) -> None:
    handler = signal.getsignal(signal.SIGINT)
    outcome = toy("fit", "--model.fail_at=5", "--model.failure=interrupt", "--trainer.max_epochs=10")
    assert outcome.code == 130
    run = only_run()
    last = run / "checkpoints/last.ckpt"
    assert outcome.error == (
        f"interrupted; the weights are in {last}; "
        f"resume with: discrete-lightning fit -c {run} --trust tests --ckpt_path last"
    )
    assert torch.load(last, weights_only=True)["global_step"] == 5
    assert signal.getsignal(signal.SIGINT) is handler
    resume = outcome.error.partition("discrete-lightning ")[2].split()
    with pytest.warns(UserWarning, match="ended before the epoch ended"):
        assert cli(*resume, "--model.fail_at=-1", "--trainer.max_epochs=5").code == 0


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 75)])
def test_a_signal_in_the_middle_of_a_step_is_heard_after_it(toy: Cli, cli: Cli, name: str, code: int) -> None:
    assert toy("fit", "--trainer.max_epochs=4").code == 0
    whole = weights(only_run())
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    outcome = toy("fit", "--model.fail_at=5", f"--model.failure={name}", "--trainer.max_epochs=4")
    assert outcome.code == code
    assert outcome.error.startswith("interrupted;" if code == 130 else f"interrupted by {name} (exit code {code});")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == handlers
    resume = outcome.error.partition("discrete-lightning ")[2].split()
    run = Path(resume[2])
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 6
    # the end of an epoch: its loader cannot go on in the middle
    assert cli(*resume, "--model.fail_at=-1").code == 0
    resumed = weights(max(Path("runs").glob("*/*"), key=lambda path: path.stat().st_mtime))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


@pytest.mark.parametrize(("batches", "steps"), [(0, 1), (2, 2)])
def test_a_signal_waits_for_the_step_that_gradients_are_accumulated_for(toy: Cli, batches: int, steps: int) -> None:
    """Of four batches an epoch, three are accumulated: steps end the third and the fourth."""
    options = ["--data.rows=16", "--trainer.accumulate_grad_batches=3", "--run_dir=run", "--model.failure=SIGTERM"]
    outcome = toy("fit", *options, f"--model.fail_at={batches and 1}")
    assert outcome.code == 143
    saved = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    assert saved["global_step"] == steps
    progress = saved["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]
    assert progress["ready"] == progress["completed"] == [0, 3, 4][steps]


def test_a_signal_in_the_last_batch_ends_the_run_before_its_test(toy: Cli, cli: Cli) -> None:
    outcome = toy("fit", "--run_dir=run", "--model.fail_at=3", "--model.failure=SIGTERM")
    assert (outcome.code, "result" in outcome.out) == (143, False)
    assert torch.load("run/checkpoints/last.ckpt", weights_only=True)["global_step"] == 4
    assert cli(*outcome.error.partition("discrete-lightning ")[2].split(), "--model.fail_at=-1").code == 0


def test_a_signal_while_testing_is_heard_at_once(toy: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError

    monkeypatch.setattr("tests.cli.toy.Toy.test_step", stop)
    assert toy("test").code == 143


@pytest.mark.parametrize("answer", [0, 1])
def test_slurm_is_asked_to_requeue_after_its_warning(
    toy: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: int
) -> None:
    scontrol = tmp_path / "bin/scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f"#!/bin/sh\necho $* >> asked\ntest -f run/checkpoints/last.ckpt || exit 9\n"
                        f"[ {answer} = 0 ] || echo slurm is away >&2\nexit {answer}\n")  # fmt: skip
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(scontrol.parent), prepend=":")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    outcome = toy("fit", "--run_dir=run", "--model.fail_at=2", "--model.failure=SIGUSR1")
    assert outcome.code == 75
    said = ["the job 12_3 is requeued", "the job 12_3 was not requeued: slurm is away"][answer]
    assert outcome.err.splitlines()[0] == said
    assert Path("asked").read_text() == "requeue 12_3\n"
    assert toy("fit", "--run_dir=other", "--model.fail_at=2", "--model.failure=SIGTERM").code == 143
    assert Path("asked").read_text() == "requeue 12_3\n"


def test_a_fault_outside_the_model_saves_what_was_learned(toy: Cli, cli: Cli) -> None:
    handler = signal.getsignal(signal.SIGINT)
    outcome = toy("fit", "--model.fail_at=5", "--model.failure=outside", "--trainer.max_epochs=4")
    assert outcome.code == 1
    run = only_run()
    last = run / "checkpoints/last.ckpt"
    resume = f"discrete-lightning fit -c {run} --trust tests --ckpt_path last"
    assert outcome.err.splitlines() == ["error: asked for", f"the weights are in {last}; resume with: {resume}"]
    assert torch.load(last, weights_only=True)["global_step"] == 5
    assert signal.getsignal(signal.SIGINT) is handler
    with pytest.warns(UserWarning, match="ended before the epoch ended"):
        assert cli(*resume.split()[1:], "--model.fail_at=-1").code == 0
    outcome = toy("fit", "--model.fail_at=0", "--model.failure=outside", "--run_dir=first")
    assert outcome.err.splitlines()[0] == "error: asked for"
    assert torch.load("first/checkpoints/last.ckpt", weights_only=True)["global_step"] == 0


def test_a_fault_while_testing_or_checking_is_one_line(toy: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OutsideFault("the ball is lost")

    monkeypatch.setattr("tests.cli.toy.Toy.test_step", fail)
    outcome = toy("test")
    assert (outcome.code, outcome.err.splitlines()[-1]) == (1, "error: the ball is lost")
    monkeypatch.setattr("tests.cli.toy.Toy.training_step", fail)
    outcome = toy("check")
    assert (outcome.code, outcome.error) == (1, "the ball is lost")


def test_a_process_stops_when_the_one_that_started_it_does(toy: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("discrete_lightning.training.run_recorder.RunRecorder.asked", signal.SIGTERM)
    assert toy("fit", "--run_dir", "run").code == 143
    assert torch.load("run/checkpoints/last.ckpt", weights_only=True)["global_step"] == 0


def test_ctrl_c_before_training_leaves_nothing(toy: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tests.cli.toy.ToyData.prepare_data", interrupt)
    outcome = toy("fit")
    assert outcome.code == 130
    assert outcome.error == "interrupted; there is no checkpoint to resume from"
    assert not list(Path().glob("runs/*"))
    monkeypatch.setattr("discrete_lightning.cli.app.App.parse_arguments", interrupt)
    outcome = toy("fit")
    assert (outcome.code, outcome.error) == (130, "interrupted")
