"""FeatureSelection: planted columns are found, checkpoints, a second run, batches and sizes that do not fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything

from discrete_lightning.selection.decision import BudgetError
from discrete_lightning.selection.training import FeatureSelection, FeatureTable
from tests.tiny_images import quiet_trainer

NAMES = [f"x{i}" for i in range(8)]
BATCH = 64


def xor_of(folder: Path) -> str:
    """400 rows of 8 columns, and whether the signs of x2 and x5 differ."""
    x = np.random.default_rng(0).normal(size=(400, 8))
    y = (x[:, 2] > 0) ^ (x[:, 5] > 0)
    path = folder / "xor.csv"
    rows = [",".join([*(f"{value:.6f}" for value in row), str(int(label))]) for row, label in zip(x, y, strict=True)]
    path.write_text("\n".join([",".join([*NAMES, "y"]), *rows]) + "\n")
    return str(path)


def xor_data(folder: Path, steps: int) -> FeatureTable:
    return FeatureTable(file=xor_of(folder), target="y", batch_size=BATCH, epoch_rows=steps * BATCH)


def iris() -> FeatureTable:
    return FeatureTable("iris", batch_size=32, epoch_rows=320)


def fitted(data: FeatureTable, k: int = 2, **arguments: Any) -> FeatureSelection:
    seed_everything(0, verbose=False)
    model = FeatureSelection(k=k)
    quiet_trainer(**arguments).fit(model, datamodule=data)
    return model


def test_xor_of_two_columns_is_found(tmp_path: Path) -> None:
    data = xor_data(tmp_path, steps=200)
    model = fitted(data)
    found = [name for name, is_open in zip(data.feature_names, model.search.gate.open(), strict=True) if is_open]
    assert found == ["x2", "x5"]
    figures = quiet_trainer().test(model, datamodule=data, verbose=False)[0]
    assert figures["test/network_accuracy"] > 0.8


def test_a_checkpoint_holds_the_choice_and_the_networks(tmp_path: Path) -> None:
    seed_everything(0, verbose=False)
    data, model, trainer = iris(), FeatureSelection(k=2), quiet_trainer()
    trainer.fit(model, datamodule=data)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    again = FeatureSelection.load_from_checkpoint(tmp_path / "run.ckpt", map_location="cpu")
    assert torch.equal(again.search.gate.open(), model.search.gate.open())
    assert int(again.search.gate.open().sum()) == 2
    assert again.feature_names == data.feature_names
    x = data.dataset("test").columns
    assert torch.equal(again.eval()(x), model.eval()(x))


class InOrder(FeatureTable):
    """Training rows in order."""

    def train_dataloader(self) -> Any:
        return self._loader("train")


class Reproducible(FeatureSelection):
    """The noise of a step depends on its number alone."""

    def training_step(self, batch: Any, batch_idx: int) -> None:
        torch.manual_seed(self.trainer.global_step)
        super().training_step(batch, batch_idx)


class Keep(Callback):
    """Saves the run as it is after its first epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 0:
            trainer.save_checkpoint(self.path)


def test_a_resumed_run_equals_one_in_one_go(tmp_path: Path) -> None:
    def run(seed: int, **arguments: Any) -> FeatureSelection:
        seed_everything(seed, verbose=False)
        model = Reproducible(k=2)
        data = InOrder("iris", batch_size=32, epoch_rows=320)
        keep = Keep(tmp_path / f"{seed}.ckpt")
        trainer = quiet_trainer(max_epochs=2, callbacks=[keep], log_every_n_steps=1)
        trainer.fit(model, datamodule=data, **arguments)
        return model

    whole = run(0)
    resumed = run(1, ckpt_path=str(tmp_path / "0.ckpt"))
    assert torch.equal(resumed.search.gate.open(), whole.search.gate.open())
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, msg=name)


def test_a_second_run_starts_without_a_decision() -> None:
    seen: list[bool] = []

    class Watched(FeatureSelection):
        def on_train_start(self) -> None:
            seen.append(self.search.gate.held)

    seed_everything(0, verbose=False)
    model = Watched(k=2)
    for _ in range(2):
        quiet_trainer().fit(model, datamodule=iris())
        assert model.search.gate.held
        assert int(model.search.gate.open().sum()) == 2
    assert seen == [False, False]


def test_batches_without_rows_or_of_other_shapes_are_refused() -> None:
    model = FeatureSelection(k=2, columns=4, classes=3)
    x, y, row = torch.randn(5, 4), torch.arange(5) % 3, torch.arange(5)
    assert [each.shape for each in model.examples((x, y, row))] == [(5, 4), (5, 1), (5,)]
    for batch in (x, [x, y], (x, y, None)):
        with pytest.raises(ValueError, match="without the row's number, rows cannot be folded"):
            model.check_batch(batch)
    for batch in ((x[:, :3], y, row), (x.long(), y, row)):
        with pytest.raises(ValueError, match=r"columns are floating-point numbers \(B, 4\)"):
            model.check_batch(batch)
    for batch in ((x, y.float(), row), (x, y[:4], row), (x, y, row[:4]), (x, torch.stack([y, y], 1), row)):
        with pytest.raises(ValueError, match=r"targets are integers \(B, 1\)"):
            model.check_batch(batch)


def test_more_columns_than_there_are_are_refused() -> None:
    with pytest.raises(BudgetError, match="k=5: the table has 4 columns"):
        FeatureSelection(k=5, columns=4, classes=3)
    with pytest.raises(BudgetError, match="k=5: the table has 4 columns"):
        fitted(iris(), k=5)
    with pytest.raises(ValueError, match="k"):
        FeatureSelection(k=0)


def test_sizes_that_nobody_says_are_refused() -> None:
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(4, 4)))
    with pytest.raises(ValueError, match="does not know how many columns"):
        quiet_trainer().fit(FeatureSelection(k=2), loader, loader)


@pytest.mark.parametrize(
    "gate", ["stochastic", "hard_concrete", "select_k", "LeaveOneOut", "DisARM", "SIMPLE", "GumbelSoftmax"]
)
def test_every_kind_of_gate_in_every_stage(gate: str) -> None:
    """A validation before gates are held, too: draws there change neither the run nor its random numbers."""
    seed_everything(0, verbose=False)
    model, data = FeatureSelection(k=2, gate=gate), iris()
    trainer = quiet_trainer(max_epochs=2)
    trainer.fit(model, datamodule=data)
    assert int(model.search.gate.open().sum()) == 2
    model.search.gate.undecide()
    batch, before = next(iter(data.val_dataloader())), torch.get_rng_state()
    with torch.no_grad():
        model.eval().validation_step(batch, 0)
    assert torch.equal(torch.get_rng_state(), before)
    figures = quiet_trainer().validate(model, datamodule=data, verbose=False)[0]
    assert 0 <= figures["val/network_accuracy"] <= 1
    assert -1 <= figures["val/relaxation_gap"] <= 1
