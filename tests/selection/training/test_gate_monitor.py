"""GateMonitor: the three numbers of open gates, the picture, a second run, a resumed one, a warning."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import nn

from discrete_lightning.selection.training import Budget, GateMonitor
from tests.selection.training.gated_rows import COLUMNS, HIDDEN, built, fit
from tests.tables.holder import Memory


def test_what_is_open_and_what_is_expected_are_logged_for_all_and_for_each(tmp_path: Path) -> None:
    module = built()
    trainer = fit(module, GateMonitor(), Budget(7, settle=0.9), logger=Memory(), default_root_dir=tmp_path)
    epochs = [row for _, row in trainer.logger.rows if "gates/open" in row]  # type: ignore[union-attr]
    assert len(epochs) == 4
    for row in epochs:
        for figure in ("open", "expected"):
            assert row[f"gates/{figure}"] == pytest.approx(
                row[f"gates/columns/{figure}"] + row[f"gates/hidden/{figure}"], abs=1e-4
            )
    first, last = epochs[0], epochs[-1]
    assert first["gates/open"] == COLUMNS + HIDDEN != first["gates/expected"]
    assert last["gates/open"] == last["gates/expected"] == 7
    assert last["gates/undecided"] == 0
    assert (tmp_path / "gates.png").stat().st_size


def test_without_a_picture_and_in_a_second_run(tmp_path: Path) -> None:
    monitor = GateMonitor(filename=None)
    for _ in range(2):
        fit(built(), monitor, default_root_dir=tmp_path, max_epochs=2)
        assert len(monitor.state_dict()["history"]) == 2
    assert not list(tmp_path.iterdir())


def test_a_resumed_run_draws_all_epochs(tmp_path: Path) -> None:
    monitor, other = GateMonitor(), GateMonitor()
    trainer = fit(built(), monitor, max_epochs=2, default_root_dir=tmp_path)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    fit(built(), other, max_epochs=4, default_root_dir=tmp_path, ckpt_path=str(tmp_path / "run.ckpt"))
    assert [each["epoch"] for each in other.state_dict()["history"]] == [0, 1, 2, 3]


def test_closed_layers_are_told_once() -> None:
    module = built()
    nn.init.constant_(module.columns.logits, -9.0)
    with pytest.warns(UserWarning, match="'columns' has closed all of its 12 gates") as caught:
        fit(module, GateMonitor(filename=None))
    assert sum("closed all" in str(each.message) for each in caught) == 1


def test_a_module_without_gates_is_refused() -> None:
    class Plain(LightningModule):
        def training_step(self, batch: object, batch_idx: int) -> None: ...

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.1)

    Plain.validation_step = lambda self, batch, batch_idx: None  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="GateMonitor finds no gates in Plain"):
        fit(Plain(), GateMonitor())
