"""FeatureTable: splits, standardisation by the training rows, files with words, numbers and several targets, errors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from discrete_lightning.data.errors import DataError
from discrete_lightning.selection.training import FeatureTable

SPLITS = ("train", "validation", "test")


def written(folder: Path, *lines: str) -> str:
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def lines_of(count: int = 40) -> list[str]:
    """Columns a, b, id; targets colour (words), size (numbers), grade (classes)."""
    rows = [f"{i},{(7 * i) % 11 / 4},{1000 + i},{'red' if i % 2 else 'blue'},{i * 0.37},{i % 3}" for i in range(count)]
    return ["a,b,id,colour,size,grade", *rows]


@pytest.mark.parametrize("name", ["iris", "wine", "diabetes"])
def test_splits_are_disjoint_and_complete(name: Any) -> None:
    data = FeatureTable(name, validation=0.1, test=0.2)
    data.setup()
    together = np.concatenate([data.rows[each] for each in SPLITS])
    assert np.array_equal(np.sort(together), np.arange(len(data.table)))
    assert len(data.rows["validation"]) == round(0.1 * len(data.table))
    assert len(data.rows["test"]) == round(0.2 * len(data.table))


def test_each_split_has_its_share_of_each_class() -> None:
    data = FeatureTable("wine")
    data.setup()
    counts = np.bincount(data.y)
    for split in SPLITS:
        share = len(data.rows[split]) / len(data.table)
        assert np.abs(np.bincount(data.y[data.rows[split]], minlength=3) - share * counts).max() <= 2


def test_the_seed_alone_says_the_split() -> None:
    first, again, other = (FeatureTable("iris", seed=seed) for seed in (1, 1, 2))
    for each in (first, again, other):
        each.setup()
    assert all(np.array_equal(first.rows[split], again.rows[split]) for split in SPLITS)
    assert not np.array_equal(first.rows["test"], other.rows["test"])


@pytest.mark.parametrize("name", ["breast_cancer", "diabetes"])
def test_columns_and_numbers_are_standardised_by_the_training_rows(name: Any) -> None:
    data = FeatureTable(name, epoch_rows=1)
    data.setup()
    train = data.table[data.rows["train"]]
    for split in SPLITS:
        columns, targets, row = data.dataset(split).__getitems__(range(len(data.rows[split])))
        for j in range(columns.shape[1]):
            mean = sum(train[:, j]) / len(train)
            spread = (sum((value - mean) ** 2 for value in train[:, j]) / len(train)) ** 0.5
            expected = [min(4.0, max(-4.0, (value - mean) / spread)) for value in data.table[data.rows[split], j]]
            assert columns[:, j].tolist() == pytest.approx(expected, abs=1e-5)
        y = data.y[data.rows[split]]
        if name == "diabetes":
            known = data.y[data.rows["train"]]
            assert targets[:, 0].tolist() == pytest.approx(((y - known.mean()) / known.std()).tolist(), abs=1e-5)
        else:
            assert targets[:, 0].tolist() == y.tolist()
        assert row.tolist() == list(range(len(y)))
    assert torch.equal(data.training_table()[0], data.dataset("train").columns)


def test_an_epoch_serves_a_small_table_several_times() -> None:
    data = FeatureTable("iris", batch_size=50, epoch_rows=1000)
    rows = torch.cat([row for _, _, row in data.train_dataloader()])
    assert len(rows) >= 1000
    counts = torch.bincount(rows)
    assert len(counts) == len(data.rows["train"])
    assert counts.max() <= 10
    assert sum(len(row) for _, _, row in data.test_dataloader()) == len(data.rows["test"])


def test_names_and_shapes_of_embedded_tables() -> None:
    iris, digits, two = FeatureTable("iris"), FeatureTable("digits"), FeatureTable("linnerud")
    for each in (iris, digits, two):
        each.setup()
    assert iris.feature_names[2] == "petal length (cm)"
    assert iris.class_names == ("setosa", "versicolor", "virginica")
    assert digits.image_shape == (8, 8)
    assert two.target_names == ("Weight", "Waist", "Pulse")
    assert two.targets.classes == () != iris.targets.classes == (3,)


def test_a_file_with_words_as_classes(tmp_path: Path) -> None:
    data = FeatureTable(file=written(tmp_path, *lines_of()), target="colour", drop=["id", "size", "grade"])
    data.setup()
    assert data.feature_names == ("a", "b")
    assert data.target_names == ("colour",)
    assert data.class_names == ("blue", "red")
    x, y = data.raw(*SPLITS)
    assert x.tolist() == [[i, (7 * i) % 11 / 4] for i in range(40)]
    assert y.tolist() == ["red" if i % 2 else "blue" for i in range(40)]
    assert data.targets.values[:, 0].tolist() == [int(i % 2) for i in data.rows["train"]]


def test_a_file_with_numbers(tmp_path: Path) -> None:
    data = FeatureTable(file=written(tmp_path, *lines_of()), target="size", drop=["id", "colour"], batch_size=8)
    columns, targets, _ = next(iter(data.train_dataloader()))
    assert columns.shape == (8, 3)
    assert targets.dtype == torch.float32
    assert data.targets.classes == ()
    assert float(data.targets.values.mean()) == pytest.approx(0, abs=1e-5)


def test_classes_can_be_taken_for_numbers(tmp_path: Path) -> None:
    file = written(tmp_path, *lines_of())
    classes = FeatureTable(file=file, target="grade", drop=["colour"])
    numbers = FeatureTable(file=file, target="grade", drop=["colour"], task="regression")
    classes.setup()
    numbers.setup()
    assert classes.targets.classes == (3,)
    assert numbers.targets.classes == ()
    with pytest.raises(DataError, match="y holds words"):
        FeatureTable(file=file, target="colour", task="regression").setup()


def test_several_targets(tmp_path: Path) -> None:
    data = FeatureTable(file=written(tmp_path, *lines_of()), target=["colour", "grade"], drop=["size"])
    data.setup()
    assert data.targets.classes == (2, 3)
    assert data.feature_names == ("a", "b", "id")
    for row, i in zip(data.targets.values.tolist(), data.rows["train"], strict=True):
        assert row == [i % 2, i % 3]


def test_without_a_target_the_columns_are_predicted(tmp_path: Path) -> None:
    data = FeatureTable(file=written(tmp_path, *lines_of()), drop=["colour", "grade"])
    data.setup()
    assert data.raw("test")[1] is None
    columns, targets = data.training_table()
    assert torch.allclose(columns, targets.values, atol=1e-4)


@pytest.mark.parametrize(
    ("line", "cells", "match"),
    [
        (1, ",1,1,red,0.5,1", "line 3, column a: has no value"),
        (4, "1,nan,1,red,0.5,1", "line 6, column b: has no value, 'nan'"),
        (0, "1,two,1,red,0.5,1", "line 2, column b: expected a number, found 'two'"),
        (2, "1,1,1,,0.5,1", "line 4: has no target in column colour"),
        (2, "1,1,1,red", "line 4: expected 6 columns, found 4"),
    ],
)
def test_cells_that_are_no_numbers(tmp_path: Path, line: int, cells: str, match: str) -> None:
    lines = lines_of()
    lines[line + 1] = cells
    with pytest.raises(DataError, match=match):
        FeatureTable(file=written(tmp_path, *lines), target="colour").setup()


@pytest.mark.parametrize("cell", ["nan", "inf", "-inf", "NA", "None"])
def test_targets_that_are_no_numbers(tmp_path: Path, cell: str) -> None:
    lines = lines_of()
    lines[3] = f"1,1,1,red,0.5,{cell}"
    with pytest.raises(DataError, match=f"line 4, column grade: has no value, '{cell}': fill it in"):
        FeatureTable(file=written(tmp_path, *lines), target="grade", drop=["colour"]).setup()


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        FeatureTable(file=str(tmp_path / "none.csv")).setup()
    file = written(tmp_path, *lines_of())
    for asked in ({"target": "price"}, {"target": "size", "drop": ["price"]}):
        with pytest.raises(DataError, match="there is no column 'price'; found a, b"):
            FeatureTable(file=file, **asked).setup()  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no column is left"):
        FeatureTable(file=file, target="a", drop=["b", "id", "colour", "size", "grade"]).setup()
    with pytest.raises(DataError, match="two columns are named 'a'"):
        FeatureTable(file=written(tmp_path, "a,b,a,y", "1,2,3,0", "2,3,4,1"), target="y").setup()
    with pytest.raises(DataError, match="expected names of columns"):
        FeatureTable(file=written(tmp_path, "1,2", "3,4")).setup()


def test_a_table_has_a_name_or_a_file() -> None:
    for asked in ({}, {"name": "iris", "file": "a.csv"}):
        with pytest.raises(ValueError, match="a name or a file"):
            FeatureTable(**asked)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="name must be one of"):
        FeatureTable("mnist")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="target and drop are for a file"):
        FeatureTable("iris", target="class")


def test_a_word_that_elsewhere_means_no_value_is_a_class_among_words(tmp_path: Path) -> None:
    lines = lines_of()
    lines[3] = "1,1,1,NA,0.5,1.0"
    data = FeatureTable(file=written(tmp_path, *lines), target="colour", drop=["grade"])
    data.setup()
    assert "NA" in data.class_names


def test_a_target_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the target 'grade' is named twice: name it once"):
        FeatureTable(file=written(tmp_path, *lines_of()), target=["grade", "grade"], drop=["colour"]).setup()
