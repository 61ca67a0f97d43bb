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


def test_ctrl_c_in_the_middle_of_a_step_is_heard_after_it(toy: Cli, cli: Cli) -> None:
    def weights(path: Path) -> dict[str, torch.Tensor]:
        return torch.load(path / "checkpoints/last.ckpt", weights_only=True)["state_dict"]

    assert toy("fit", "--trainer.max_epochs=4").code == 0
    whole = weights(only_run())
    handler = signal.getsignal(signal.SIGINT)
    outcome = toy("fit", "--model.fail_at=5", "--model.failure=signal", "--trainer.max_epochs=4")
    assert outcome.code == 130
    assert signal.getsignal(signal.SIGINT) is handler
    resume = outcome.error.partition("discrete-lightning ")[2].split()
    run = Path(resume[2])
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 6
    # the end of an epoch: its loader cannot go on in the middle
    assert cli(*resume, "--model.fail_at=-1").code == 0
    resumed = weights(max(Path("runs").glob("*/*"), key=lambda path: path.stat().st_mtime))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


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
    monkeypatch.setattr("discrete_lightning.training.run_recorder.RunRecorder.is_stopped", True)
    assert toy("fit", "--run_dir", "run").code == 130
    assert torch.load("run/checkpoints/last.ckpt", weights_only=True)["global_step"] == 1


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
