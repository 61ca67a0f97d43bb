"""SelectionReport: figures beside scikit-learn's own, the table and the picture, numbers as targets, other models."""

import csv
from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch import Trainer, seed_everything
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from discrete_lightning.selection.training import FeatureSelection, FeatureTable
from discrete_lightning.selection.training.selection_report import SelectionReport
from tests.tables.holder import Memory, holder
from tests.tiny_images import quiet_trainer

PEERS = ("f_test", "mutual_information", "rfe", "forest")


def measured(
    folder: Path, data: FeatureTable, report: SelectionReport
) -> tuple[FeatureSelection, Trainer, dict[str, float]]:
    """A model fitted for an epoch and tested, and all that the test logged."""
    seed_everything(0, verbose=False)
    model = FeatureSelection(k=2)
    trainer = quiet_trainer(callbacks=[report], logger=Memory(), log_every_n_steps=1, default_root_dir=folder)
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data, verbose=False)
    figures = {key: value for _, row in trainer.logger.rows for key, value in row.items()}  # type: ignore[union-attr]
    return model, trainer, {key: value for key, value in figures.items() if key.startswith("test/")}


def chosen_and_scaled(model: FeatureSelection, data: FeatureTable) -> tuple[np.ndarray, np.ndarray]:
    mask = model.search.gate.open().numpy()
    (x, _), (test_x, _) = data.raw("train"), data.raw("test")
    scaler = StandardScaler().fit(x[:, mask])
    return scaler.transform(x[:, mask]), scaler.transform(test_x[:, mask])


def test_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = FeatureTable("iris", batch_size=64, epoch_rows=640)
    model, _, figures = measured(tmp_path, data, SelectionReport(seeds=2, sizes=[1, 2]))
    train, test = chosen_and_scaled(model, data)
    (x, y), (test_x, test_y) = data.raw("train"), data.raw("test")
    assert figures["test/accuracy"] == pytest.approx(SVC().fit(train, y).score(test, test_y))
    peers = {each: figures[f"test/{each}_accuracy"] for each in PEERS}
    assert figures["test/best_peer_accuracy"] == max(peers.values())
    assert 0 <= figures["test/stability"] <= 1
    assert "test/r2" not in figures
    scaler = StandardScaler().fit(x)
    best = SelectKBest(f_classif, k=2).fit(x, y).get_support()
    theirs = SVC().fit(scaler.transform(x)[:, best], y).score(scaler.transform(test_x)[:, best], test_y)
    assert peers["f_test"] == pytest.approx(theirs)

    with open(tmp_path / "features.csv", newline="") as file:
        rows = {row["column"]: row for row in csv.DictReader(file)}
    assert set(rows) == set(data.feature_names)
    mask = model.search.gate.open().tolist()
    for name, is_open in zip(data.feature_names, mask, strict=True):
        assert rows[name]["chosen"] == str(int(is_open))
        assert int(is_open) <= int(rows[name]["seeds"]) <= 1 + int(is_open)
    assert sum(int(row["chosen"]) for row in rows.values()) == 2
    assert sum(int(row["seeds"]) for row in rows.values()) == 4
    assert (tmp_path / "accuracy.png").stat().st_size
    assert not (tmp_path / "mask.png").exists()
    printed = capsys.readouterr().out
    assert "2 of 4 columns" in printed
    assert all(name in printed for name, is_open in zip(data.feature_names, mask, strict=True) if is_open)


def test_numbers_without_files(tmp_path: Path) -> None:
    data = FeatureTable("diabetes", batch_size=64, epoch_rows=640)
    report = SelectionReport(seeds=1, filename=None, picture=None, mask=None)
    model, _, figures = measured(tmp_path, data, report)
    train, test = chosen_and_scaled(model, data)
    y, test_y = data.raw("train")[1], data.raw("test")[1]
    mean, spread = y.mean(), y.std()
    expected = SVR().fit(train, (y - mean) / spread).score(test, (test_y - mean) / spread)
    assert figures["test/r2"] == pytest.approx(expected, abs=1e-6)
    assert figures["test/best_peer_r2"] == max(figures[f"test/{each}_r2"] for each in PEERS)
    assert "test/stability" not in figures
    assert not list(tmp_path.iterdir())


def test_other_models_are_refused() -> None:
    report = SelectionReport()
    with pytest.raises(ValueError, match="tests a FeatureSelection, and the model is a Holder"):
        report.setup(quiet_trainer(), holder("automatic"), "fit")


@pytest.mark.parametrize(("arguments", "name"), [({"seeds": 0}, "seeds"), ({"sizes": [2, 0]}, r"sizes\[1\]")])
def test_arguments_out_of_range_are_refused(arguments: dict[str, object], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        SelectionReport(**arguments)  # type: ignore[arg-type]
