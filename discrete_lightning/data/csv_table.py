"""A table of numbers, one example a row."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from discrete_lightning.data.arrays import ArrayRows
from discrete_lightning.data.errors import DataError
from discrete_lightning.data.image_folder import image_format
from discrete_lightning.data.labels import class_numbers
from discrete_lightning.data.splits import DrawnSplits, Split
from discrete_lightning.storage.gunzip import PackedError, gunzip

_MISSING = ("", "nan", "na", "null", "none", "inf", "-inf")
LABELS = ("label", "labels", "class", "target", "y")


class CSVTable(DrawnSplits):
    """Pixels or features in a CSV file: one example a row, columns of numbers and maybe one of labels.

    Separated by commas, semicolons or tabs; with or without names in the first row; gzipped or not. The table is held in memory
    as float32. Batches are `(values, labels)`, or values where there are no labels: float32 (B, columns) or (B, *shape) in
    [0, 1], and int64 (B,).

    Args:
        path: of the file.
        label: name of the column of labels, or its position (-1: the last). None takes a column named label, labels, class,
            target or y, if there is one.
        shape: (C, H, W) of the images that the columns are, row by row.
        max_value: the value that becomes 1, needed for values that are not in [0, 1]: 255 for pixels.
        validation: share of the rows, in [0, 1).
        test: likewise.
        batch_size: rows a batch and device, 1 or more.
        num_workers: processes that prepare batches.
        seed: of the split.

    Raises:
        ValueError: an argument is out of its range.
        DataError: the file cannot be read, or a cell is no number or out of range; the message names file, line and column.

    Attributes:
        class_names: of the labels; empty without labels.
        image_shape: `shape`, or the number of columns.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/pixels.csv"
        >>> rows = [f"{i % 2},{i},0,0,255" for i in range(10)]
        >>> with open(path, "w") as file:
        ...     print("label,p0,p1,p2,p3", *rows, sep=chr(10), file=file)
        >>> data = CSVTable(path, shape=(1, 2, 2), max_value=255, batch_size=4)
        >>> images, labels = next(iter(data.train_dataloader()))
        >>> images.shape, labels.shape
        (torch.Size([4, 1, 2, 2]), torch.Size([4]))
    """

    def __init__(
        self,
        path: str,
        label: str | int | None = None,
        shape: tuple[int, int, int] | None = None,
        max_value: float | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        batch_size: int = 64,
        *,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(validation, test, batch_size, num_workers, seed)
        image_format(None, None, "crop", max_value)
        self.path, self.label, self.shape, self.max_value = path, label, shape, max_value

    def build(self) -> dict[Split, Dataset[Any]]:
        path = Path(self.path).expanduser()
        values, words = _read(path, self.label)
        labels, self.class_names = class_numbers({"train": _labels(words)}, str(path))
        wanted = None if self.shape is None else int(np.prod(self.shape))
        if wanted is not None and wanted != values.shape[1]:
            shape = " x ".join(map(str, self.shape or ()))
            raise DataError(f"{path}: shape {shape} has {wanted} values, found {values.shape[1]} columns of numbers.")
        values = values if self.shape is None else values.reshape(-1, *self.shape)
        self.image_shape = tuple(values.shape[1:])
        axis = None if self.shape is None else 1
        rows = ArrayRows(path, values, labels["train"], axis, self.max_value)
        low, high = float(values.min()), float(values.max())
        if self.max_value is None and not 0 <= low <= high <= 1:
            raise DataError(
                f"{path}: expected values in [0, 1], found {low:g} to {high:g}: set max_value (255 for pixels)."
            )
        return self.with_drawn({"train": rows}, str(path))


def _read(path: Path, label: str | int | None) -> tuple[Any, list[str] | None]:
    if not path.is_file():
        raise DataError(f"{path}: there is no such file (the working directory is {Path.cwd()}).")
    if isinstance(label, str) and label.lstrip("-").isdigit():
        label = int(label)
    try:
        rows = _rows(path)
        line, first = next(rows, (0, []))
        names = first if any(_number(cell) is None for cell in first) and not _is_data(first, label) else None
        column = _label_column(path, names, len(first), label)
        shown = names or [str(i) for i in range(len(first))]
        values, words = list[Any](), list[str]()
        for number, cells in rows if names else _chained(line, first, rows):
            if len(cells) != len(first):
                raise DataError(f"{path}, line {number}: expected {len(first)} columns, found {len(cells)}.")
            if column is not None:
                words.append(cells[column].strip())
                if not words[-1]:
                    raise DataError(f"{path}, line {number}: has no label in column {shown[column]}.")
            values.append(_numbers(path, number, cells, column, shown))
    except (OSError, PackedError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV: {error}.") from error
    if not values or not len(values[0]):
        raise DataError(
            f"{path}: expected rows of numbers, found {'no rows' if not values else 'no columns of numbers'}."
        )
    return np.stack(values), None if column is None else words


def read_table(
    path: Path, targets: Sequence[str] = (), drop: Sequence[str] = ()
) -> tuple[tuple[str, ...], Any, list[list[str]]]:
    """A table of named columns: of features, numbers, and of targets, numbers or words.

    Args:
        path: a CSV file with names in its first row.
        targets: names of the target columns.
        drop: names of columns that are left out.

    Returns:
        The names of the features; the features, float64 (n, D); the cells of each target.

    Raises:
        DataError: the file cannot be read, has no such column, or a cell is empty or no number; the message names file, line
            and column.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file (the working directory is {Path.cwd()}).")
    try:
        rows = list(_rows(path))
    except (OSError, PackedError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV: {error}.") from error
    if len(rows) < 2:
        raise DataError(f"{path}: expected names and rows of numbers, found {len(rows)} rows.")
    names = [cell.strip() for cell in rows[0][1]]
    if all(_number(name) is not None for name in names):
        raise DataError(f"{path}: expected names of columns in the first row, found numbers: add them.")
    again = sorted({name for name in targets if targets.count(name) > 1})
    if again:
        raise DataError(f"{path}: the target {again[0]!r} is named twice: name it once.")
    for name in [*targets, *drop]:
        if name not in names:
            raise DataError(f"{path}: there is no column {name!r}; found {', '.join(names[:12])}.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: two columns are named {twice[0]!r}: rename one.")
    chosen = [i for i, name in enumerate(names) if name not in targets and name not in drop]
    if not chosen:
        raise DataError(f"{path}: no column is left to select from.")
    table = np.empty((len(rows) - 1, len(chosen)))
    words: list[list[str]] = [[] for _ in targets]
    for at, (line, cells) in enumerate(rows[1:]):
        if len(cells) != len(names):
            raise DataError(f"{path}, line {line}: expected {len(names)} columns, found {len(cells)}.")
        for place, i in enumerate(chosen):
            value = _number(cells[i])
            if value is None or not np.isfinite(value):
                raise DataError(_no_number(path, line, names[i], cells[i]))
            table[at, place] = value
        for place, name in enumerate(targets):
            words[place].append(cells[names.index(name)].strip())
            if not words[place][-1]:
                raise DataError(f"{path}, line {line}: has no target in column {name}.")
    for name, cells in zip(targets, words, strict=True):
        _check_targets(path, name, cells, [line for line, _ in rows[1:]])
    return tuple(names[i] for i in chosen), table, words


def _check_targets(path: Path, name: str, cells: Sequence[str], lines: Sequence[int]) -> None:
    """Raises DataError of a target of numbers with a cell that means "no value"; among words it is a word."""
    missing = [i for i, cell in enumerate(cells) if cell.lower() in _MISSING]
    others = [_number(cell) for cell in cells if cell.lower() not in _MISSING]
    if missing and others and None not in others:
        raise DataError(_no_number(path, lines[missing[0]], name, cells[missing[0]]))


def _no_number(path: Path, line: int, name: str, cell: str) -> str:
    if cell.strip().lower() in _MISSING:
        return f"{path}, line {line}, column {name}: has no value, {cell!r}: fill it in, or leave the row or the column out."
    return (
        f"{path}, line {line}, column {name}: expected a number, found {cell!r}: encode words as numbers, or leave the column "
        "out."
    )


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    with io.TextIOWrapper(io.BytesIO(gunzip(path.read_bytes())), encoding="utf-8-sig", newline="") as file:
        head = file.readline()
        file.seek(0)
        reader = csv.reader(file, delimiter=max(",;\t", key=head.count))
        for cells in reader:
            if cells:
                yield reader.line_num, cells


def _chained(line: int, first: list[str], rows: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    if first:
        yield line, first
    yield from rows


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _is_data(first: list[str], label: str | int | None) -> bool:
    """Whether the only word of the first row is a label, and not the name of a column of labels."""
    if not isinstance(label, int) or not first:
        return False
    rest = [cell for i, cell in enumerate(first) if i != label % len(first)]
    return all(_number(cell) is not None for cell in rest) and first[label % len(first)].strip().lower() not in LABELS


def _label_column(path: Path, names: list[str] | None, count: int, label: str | int | None) -> int | None:
    stripped = [name.strip() for name in names or []]
    if isinstance(label, int):
        if not -count <= label < count:
            raise DataError(f"{path}: label={label}: there are {count} columns.")
        return label % count
    if label is None:
        lower = [name.lower() for name in stripped]
        return next((lower.index(name) for name in LABELS if name in lower), None)
    if label not in stripped:
        found = ", ".join(stripped[:8]) if names else "no names in the first row: give its position"
        raise DataError(f"{path}: label={label!r}: there is no such column; found {found}.")
    return stripped.index(label)


def _numbers(path: Path, line: int, cells: list[str], label: int | None, names: list[str]) -> Any:
    kept = cells if label is None else cells[:label] + cells[label + 1 :]
    row = np.array([np.nan if (value := _number(cell)) is None else value for cell in kept], dtype=np.float32)
    if not np.isfinite(row).all():
        wrong = int(np.flatnonzero(~np.isfinite(row))[0])
        wrong += label is not None and wrong >= label
        raise DataError(f"{path}, line {line}, column {names[wrong]}: expected a number, found {cells[wrong]!r}.")
    return row


def _labels(words: list[str] | None) -> Any:
    if words is None:
        return None
    try:
        return np.array([int(float(word)) if float(word).is_integer() else word for word in words])
    except ValueError:
        return np.array(words)
