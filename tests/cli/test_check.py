"""`check`: builds everything, and puts one batch through it."""

import os
from pathlib import Path

import pytest

from tests.cli.outcome import Cli

_SMALL = ("--model.hidden=4", "--model.quantizer.num_codes=8", "--model.quantizer.dim=4")


def test_images_that_do_not_fit_the_model(cli: Cli) -> None:
    for command in ("check", "fit"):
        outcome = cli(command, "-c", "vq/quickstart", *_SMALL, "--model.channels=3")
        assert outcome.code == 1
        assert "the model takes images of 3 channels, and the data serves (64, 1, 28, 28)" in outcome.error
        assert "set channels=1 (model.channels in a config)" in outcome.error


@pytest.mark.parametrize("family", ["vq/quickstart", "nas/quickstart", "design/quickstart"])
def test_check_writes_nothing(cli: Cli, family: str) -> None:
    before = sorted(os.listdir())
    outcome = cli("check", "-c", family)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith("; one batch was trained on and validated\n")
    assert sorted(os.listdir()) == before


def test_data_that_fit_downloads(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCRETE_LIGHTNING_DATA", os.getcwd())
    monkeypatch.setenv("HOME", os.getcwd())
    outcome = cli("check", "-c", "vq/mnist_ema", "--model.hidden=4")
    assert outcome.code == 0
    assert outcome.err.startswith("note: no batch was tried, since the data are not here yet, and fit gets them: MNIST")
    assert "tried on" not in outcome.out


@pytest.mark.parametrize("callback", ["EarlyStopping", "ModelCheckpoint"])
def test_a_monitor_that_is_not_logged(toy: Cli, callback: str) -> None:
    options = (f"--trainer.callbacks+={callback}", "--trainer.callbacks.monitor=val/los")
    outcome = toy("check", *options)
    assert outcome.error.startswith(
        f"{callback} monitors 'val/los', which is not logged; did you mean 'val/loss'? (logged are train/loss, val/loss)"
    )
    assert "val/los" in toy("fit", *options).error


def test_a_monitor_of_what_an_own_callback_may_log(toy: Cli) -> None:
    Path("own_callback.py").write_text("from lightning.pytorch import Callback\nclass Own(Callback): pass\n")
    options = ("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=mine")
    assert toy("check", "--trainer.callbacks+=own_callback.Own", *options, "--trust", "own_callback").code == 0


def test_several_devices_and_machines_are_tried_in_one_process(toy: Cli) -> None:
    assert toy("check", "--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.num_nodes=2").code == 0
