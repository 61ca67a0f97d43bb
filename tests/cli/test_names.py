"""What a config calls its files stays in the run's folder."""

from pathlib import Path

import pytest

from tests.cli.outcome import Cli

CONFIGS = {
    "checkpoint": "callbacks: [{class_path: ModelCheckpoint, init_args: {filename: ../../taken}}]",
    "absolute": "callbacks: [{class_path: ModelCheckpoint, init_args: {filename: /tmp/taken}}]",
    "logger": "logger: {class_path: CSVLogger, init_args: {save_dir: ., name: ../taken}}",
    "version": "logger: [{class_path: CSVLogger, init_args: {save_dir: ., version: a/../../taken}}]",
    "profiler": "profiler: {class_path: SimpleProfiler, init_args: {filename: ../taken}}",
    "backslash": "logger: {class_path: CSVLogger, init_args: {save_dir: ., name: '..\\..\\taken'}}",
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_names_that_lead_out_are_refused(toy: Cli, config: str) -> None:
    Path("inside").mkdir()
    Path("bad.yaml").write_text(f"trainer: {{{config}}}")
    outcome = toy("fit", "-c", "bad.yaml", "--run_dir", "inside/run")
    assert outcome.code == 2
    assert "leads out of the run's folder" in outcome.error
    assert "line 1 of bad.yaml" in outcome.error
    assert not list(Path().rglob("*taken*"))
