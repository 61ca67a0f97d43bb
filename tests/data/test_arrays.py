"""Images and features in NumPy's files."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from discrete_lightning.data import Arrays, DataError

BYTES = np.random.RandomState(0).randint(0, 256, (20, 6, 5)).astype(np.uint8)


def written(folder: Path, values: Any = None, **arrays: Any) -> str:
    if arrays:
        np.savez(folder / "a.npz", **arrays)
        return str(folder / "a.npz")
    np.save(folder / "a.npy", values, allow_pickle=True)
    return str(folder / "a.npy")


def whole(path: str, **arguments: Any) -> Any:
    return Arrays(path, validation=0, test=0, **arguments).dataset("train")


@pytest.mark.parametrize(
    ("values", "largest"),
    [
        (BYTES, 255),
        (BYTES.astype(np.uint16) * 257, 65535),
        (BYTES.astype(np.uint16).astype(">u2"), 65535),
        (BYTES > 99, 1),
    ],
)
def test_values_are_divided_by_the_largest_of_their_type(tmp_path: Path, values: Any, largest: int) -> None:
    row = whole(written(tmp_path, values))[3]
    assert (row.shape, row.dtype) == ((1, 6, 5), torch.float32)
    assert torch.allclose(row[0], torch.from_numpy(values[3].astype(np.float32)) / largest)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (BYTES.astype(np.int32) * 257, "row 0: int32 pixels, .* set max_value"),
        (BYTES.astype(np.float64) - 100, "row 0: float64 pixels, -.* expected 0 or more"),
        (BYTES.astype(np.complex64), "row 0: expected numbers, found complex64"),
        ((BYTES > 99).astype(np.uint8), "bytes of 0 and 1 only: set max_value to 1"),
        (np.array([1, "a", None], dtype=object), "cannot be read as NPY or NPZ: it holds Python objects"),
        (np.zeros((5, 16, 16, 16)), "does not show where the channels are: set channels to first or last"),
        (np.zeros(5), r"expected \(N, D\), .* found \(5,\)"),
        (np.zeros((0, 4, 4)), "expected images, found none"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, values: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"a\.npy.*{message}"):
        whole(written(tmp_path, values))[0]


def test_the_largest_value_can_be_given(tmp_path: Path) -> None:
    assert whole(written(tmp_path, BYTES.astype(np.int64)), max_value=255)[0].max() == BYTES[0].max() / np.float32(255)


@pytest.mark.parametrize(
    ("shape", "channels", "expected"),
    [
        ((20, 5, 9, 8), None, (5, 9, 8)),
        ((20, 9, 8, 5), None, (5, 9, 8)),
        ((20, 8, 8, 8), "last", (8, 8, 8)),
        ((20, 7), None, (7,)),
    ],
)
def test_channels_go_first(tmp_path: Path, shape: Any, channels: Any, expected: Any) -> None:
    values = np.random.RandomState(0).rand(*shape)
    data = Arrays(written(tmp_path, values), channels=channels)
    data.setup()
    assert data.image_shape == expected
    row = whole(written(tmp_path, values), channels=channels)[2]
    moved = (
        np.moveaxis(values[2], -1, 0)
        if (len(shape) == 4 and shape[1:] != expected) or channels == "last"
        else values[2]
    )
    assert torch.equal(row, torch.from_numpy(moved.astype(np.float32)))


@pytest.mark.parametrize("names", ["x_{split} y_{split}", "{split}_images {split}_labels"])
def test_splits_of_an_npz_file(tmp_path: Path, names: str) -> None:
    arrays = {}
    for split, count in (("train", 8), ("test", 4)):
        images, labels = names.format(split=split).split()
        arrays |= {images: BYTES[:count], labels: np.arange(count)[:, None] % 3}
    data = Arrays(written(tmp_path, **arrays), validation=0.25, batch_size=2)
    assert [len(data.dataset(split)) for split in ("train", "validation", "test")] == [6, 2, 4]
    assert [labels.tolist() for _, labels in data.test_dataloader()] == [[0, 1], [2, 0]]
    assert data.class_names == ("0", "1", "2")


def test_names_that_are_not_known_are_listed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected an array images, or train_images, found a \(3,\), b \(4,\)"):
        whole(written(tmp_path, a=np.zeros(3), b=np.zeros(4)))
    assert len(whole(written(tmp_path, mine=BYTES))) == 20  # the only one


def test_labels_of_an_npy_file(tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", np.array(["dog", "cat"] * 10))
    path = written(tmp_path, BYTES)
    images, labels = next(iter(Arrays(path, labels=str(tmp_path / "labels.npy"), batch_size=4).val_dataloader()))
    assert (images.shape, labels.dtype) == ((2, 1, 6, 5), torch.int64)
    for wrong, message in (
        (np.arange(3), "a label for each image, found 20 and 3"),
        (np.ones(20), "one integer or word"),
    ):
        np.save(tmp_path / "labels.npy", wrong)
        with pytest.raises(DataError, match=message):
            whole(path, labels=str(tmp_path / "labels.npy"))


def test_an_npy_file_stays_on_disk(tmp_path: Path) -> None:
    rows = whole(written(tmp_path, np.zeros((100, 64, 64), np.uint8) + 5))
    assert len(pickle.dumps(rows)) < 2000  # what a worker process is sent
    assert torch.equal(pickle.loads(pickle.dumps(rows))[3], rows[3])


def test_no_file_and_no_numpy_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.npy: there is no such file"):
        Arrays("nowhere.npy").setup()
    (tmp_path / "a.npz").write_text("hello")
    with pytest.raises(DataError, match=r"a\.npz: cannot be read as NPY or NPZ"):
        Arrays(str(tmp_path / "a.npz")).setup()
