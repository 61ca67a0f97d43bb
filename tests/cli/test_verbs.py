"""Verbs that families add without the command line knowing them."""

from pathlib import Path

import pytest

from discrete_lightning.cli import verbs
from tests.cli.outcome import Cli, only_run

VERB = """\
[shout]
help = "predict with another rate"
command = "predict"
arguments = ["--trainer.limit_predict_batches=1"]
options = {rate = {argument = "--model.learning_rate", metavar = "NUMBER", help = "the rate"}}
"""


@pytest.fixture(autouse=True)
def _family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "package/made_up").mkdir(parents=True)
    (tmp_path / "package/made_up/verbs.toml").write_text(VERB)
    monkeypatch.setattr(verbs, "PACKAGE", tmp_path / "package")


def test_a_verb_of_a_family_is_a_command(toy: Cli, cli: Cli) -> None:
    assert toy("fit").code == 0
    outcome = cli("shout", "--trust", "tests", "-c", str(only_run()), "--rate", "0.5")
    assert outcome.code == 0, outcome.err
    run = only_run("runs/toy/*-shout")
    assert "learning_rate: 0.5" in (run / "config.yaml").read_text()
    assert (run / "predictions.pt").exists()


def test_help_lists_it_and_a_typo_finds_it(cli: Cli) -> None:
    assert "-c RUN --rate NUMBER: predict with another rate" in " ".join(cli("--help").out.split())
    assert "did you mean shout?" in cli("shuot").error
    shown = " ".join(cli("shout", "--help").out.split())
    assert shown.startswith("usage: discrete-lightning shout -c RUN --rate NUMBER [options] predict with another rate")
    assert "(NUMBER: the rate)" in shown
    assert "--trainer.limit_predict_batches" in shown


def test_a_missing_option_is_named(toy: Cli) -> None:
    outcome = toy("shout")
    assert outcome.code == 2
    assert outcome.error == "shout needs --rate NUMBER: the rate"
