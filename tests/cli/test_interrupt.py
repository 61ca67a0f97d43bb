import signal
from pathlib import Path

import pytest
import torch

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
