"""The recipe's script, for a few updates."""

import importlib.util
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[2] / "recipes" / "control" / "train.py"
pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("gymnasium") is None, reason="the package gymnasium is not installed"),
    pytest.mark.filterwarnings("ignore:.*train_dataloader.*"),
]


@pytest.mark.parametrize("environment", ["CartPole-v1", "Taxi-v4"])
def test_the_script_trains(
    environment: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("control_recipe", RECIPE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.Agent.__init__, "__defaults__", (8, 32, 2))  # epochs
    monkeypatch.setattr(sys, "argv", ["train.py", "--environment", environment, "--updates", "20"])
    module.main()
    assert "mean return" in capsys.readouterr().out
