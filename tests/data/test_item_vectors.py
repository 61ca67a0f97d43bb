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
    with pytest.raises(DataError, match="expected a CSV, NPY or NPZ file"):
        ItemVectors(str(tmp_path / "c.npy")).setup()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        ItemVectors(str(tmp_path / "d.csv")).setup()
