"""Catalogues of items in CSV, NPY and NPZ files."""

from pathlib import Path

import numpy as np
import pytest

from discrete_lightning.data import DataError, ItemVectors

VALUES = np.random.RandomState(0).standard_normal((6, 3)) * 5 + 2


def held(path: Path) -> tuple[np.ndarray, list[str]]:  # type: ignore[type-arg]
    data = ItemVectors(str(path), batch_size=4)
    loaders = [data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()]
    found = [np.concatenate([vectors.numpy() for vectors, _ in loader]) for loader in loaders]
    assert all(np.array_equal(each, found[0]) for each in found)
    numbers = np.concatenate([numbers.numpy() for _, numbers in data.val_dataloader()])
    assert numbers.tolist() == list(range(6))
    return found[0], data.names


def test_every_kind_of_file(tmp_path: Path) -> None:
    names = [f"item {i}" for i in range(6)]
    np.save(tmp_path / "a.npy", VALUES)
    np.savez(tmp_path / "b.npz", vectors=VALUES, items=np.array(names))
    rows = [",".join(map(str, row)) for row in VALUES.tolist()]
    (tmp_path / "c.csv").write_text("\n".join(rows))
    (tmp_path / "d.csv").write_text("\n".join(["name,a,b,c", *(f"{n},{r}" for n, r in zip(names, rows, strict=True))]))
    (tmp_path / "e.csv").write_text("\n".join(f"{n},{r}" for n, r in zip(names, rows, strict=True)))
    (tmp_path / "f.csv").write_text("\n".join(["a,b,c", *rows]))
    centred = VALUES - VALUES.mean(0)
    expected = centred / np.sqrt((centred**2).mean())
    for name in "abcdef":
        vectors, found = held(next(tmp_path.glob(f"{name}.*")))
        np.testing.assert_allclose(vectors, expected, rtol=1e-5, atol=1e-6)
        assert found == (names if name in "bde" else [str(i) for i in range(6)])


def test_faults_name_file_and_line(tmp_path: Path) -> None:
    for content, words in (
        ("a,1,2\nb,3,x\n", r"items\.csv, line 2: expected a row of numbers, found 'x'"),
        ("a,1,2\nb,3\n", r"line 2: expected a row of numbers, found 2 cells beside 3 in line 1"),
        ("a,1,2\n", r"expected 2 or more vectors of finite numbers, found an array of shape \(1, 2\)"),
        ("a,1,2\nb,nan,2\n", "found row 2 is not finite"),
        ("a,1,2\nb,1,2\n", "all its vectors are equal"),
        ("", "holds no rows"),
    ):
        (tmp_path / "items.csv").write_text(content)
        with pytest.raises(DataError, match=words):
            ItemVectors(str(tmp_path / "items.csv")).setup()
    np.savez(tmp_path / "a.npz", other=VALUES)
    with pytest.raises(DataError, match="expected an array `vectors`, found other"):
        ItemVectors(str(tmp_path / "a.npz")).setup()
    np.savez(tmp_path / "a.npz", vectors=VALUES, items=np.arange(5))
    with pytest.raises(DataError, match=r"expected 6 names of items, found an array of shape \(5,\)"):
        ItemVectors(str(tmp_path / "a.npz")).setup()
    np.save(tmp_path / "b.npy", VALUES[0])
    with pytest.raises(DataError, match=r"expected numbers of shape \(N, D\)"):
        ItemVectors(str(tmp_path / "b.npy")).setup()
    (tmp_path / "c.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match=r"expected a table of text \(\.csv, \.tsv, \.txt\), or an NPY or NPZ file"):
        ItemVectors(str(tmp_path / "c.npy")).setup()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        ItemVectors(str(tmp_path / "d.csv")).setup()


@pytest.mark.parametrize("name", ["id", "Item_ID", "productId", "", "name", "Unnamed: 0"])
def test_whole_numbers_that_name_items(tmp_path: Path, name: str) -> None:
    """The usual catalogue: its first column would outweigh all others."""
    path = tmp_path / "items.csv"
    path.write_text(f"{name},a,b\n" + "".join(f"{1000 + i},{i / 4},{-i}\n" for i in range(6)))
    vectors, names = held(path)
    assert vectors.shape == (6, 2)
    assert names == [str(1000 + i) for i in range(6)]


def test_whole_numbers_that_may_be_either(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    for header, words in (
        ("code,a,b\n", "first column, 'code', and found whole numbers"),
        ("", "first column and found"),
    ):
        path.write_text(header + "".join(f"{1000 + i},{i / 4},{-i}\n" for i in range(6)))
        with pytest.raises(DataError, match=words):
            ItemVectors(str(path)).setup()
    path.write_text("a,b\n" + "".join(f"{i},{i * i}\n" for i in range(6)))  # counts: all are whole
    assert held(path)[0].shape == (6, 2)


@pytest.mark.parametrize(("name", "mark"), [("a.csv", ";"), ("a.tsv", "\t"), ("a.txt", ","), ("a.txt", "\t")])
def test_tables_of_other_marks(tmp_path: Path, name: str, mark: str) -> None:
    rows = [["item", "a", "b"], *([f"n{i}", str(i / 4), str(-i)] for i in range(6))]
    (tmp_path / name).write_text("\n".join(mark.join(row) for row in rows))
    vectors, names = held(tmp_path / name)
    assert vectors.shape == (6, 2)
    assert names[0] == "n0"


def test_names_are_text_and_each_once(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", vectors=VALUES, items=np.array([f"tea \u00e9{i}".encode() for i in range(6)]))
    assert held(tmp_path / "a.npz")[1][0] == "tea \u00e90"
    (tmp_path / "b.csv").write_text("a,1\nb,2\na,3\n")
    with pytest.raises(DataError, match=r"b\.csv: expected a name of its own for each item, found 'a' more than once"):
        ItemVectors(str(tmp_path / "b.csv")).setup()
    (tmp_path / "c.csv").write_text("id,a,b\n")
    with pytest.raises(DataError, match=r"c\.csv: holds no rows below its header"):
        ItemVectors(str(tmp_path / "c.csv")).setup()
    (tmp_path / "d.json").write_text("[1, 2]")
    with pytest.raises(DataError, match=r"expected a table of text \(\.csv, \.tsv, \.txt\), or an NPY or NPZ file"):
        ItemVectors(str(tmp_path / "d.json")).setup()


def test_a_catalogue_smaller_than_the_batch(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    with pytest.raises(ValueError, match=r"batch_size=256: expected at most 6, .* 6 examples"):
        ItemVectors(str(tmp_path / "a.npy")).train_dataloader()
    batches = list(ItemVectors(str(tmp_path / "a.npy"), batch_size=6).train_dataloader())
    assert [len(vectors) for vectors, _ in batches] == [6]
