"""Tables of numbers with names of columns: scikit-learn's embedded ones, or a CSV file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from discrete_lightning.data.csv_table import read_table
from discrete_lightning.data.dataset import as_is
from discrete_lightning.data.errors import DataError
from discrete_lightning.data.splits import Split, SplitDataModule, check_shares
from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.selection.features.encoded import encoded_targets, standardized
from discrete_lightning.selection.features.targets import Targets

Name = Literal["breast_cancer", "wine", "digits", "iris", "diabetes", "linnerud"]


class FeatureTable(SplitDataModule):
    """Rows of a table: columns of numbers, and what is to be predicted from them.

    Columns are standardised by the mean and deviation of the training rows, and clipped at 4 deviations. Batches are
    `(columns, targets, row)`: float32 (B, D); int64 (B, T) classes or float32 (B, T) standardised numbers; int64 (B,), the
    row's number in its split. An epoch has at least `epoch_rows` rows: small tables are served several times.

    Args:
        name: one of scikit-learn's embedded tables; exclusive with `file`.
        file: a CSV file with names in its first row.
        target: name or names of the target columns of the file; empty: the columns themselves are predicted.
        drop: names of columns of the file that are left out.
        task: "classification", "regression", or "auto": see `FeatureSelector`.
        validation: share of the rows, in [0, 1).
        test: likewise.
        batch_size: rows a batch and device, 1 or more.
        epoch_rows: least number of training rows of an epoch.
        num_workers: processes that prepare batches.
        seed: of the split.

    Attributes:
        feature_names: of the columns, after `setup`.
        target_names: of the targets.
        class_names: of the first target, if it is a class.
        targets: of the training rows (`Targets`), for the model.
        image_shape: (H, W) of tables whose columns are pixels; else None.

    Raises:
        ValueError: an argument is out of its range.
        DataError: (in `setup`) the file cannot be read, a cell is empty or no number, a column is missing, or scikit-learn is.

    Example:
        >>> data = FeatureTable("wine", batch_size=8)
        >>> columns, targets, row = next(iter(data.train_dataloader()))
        >>> columns.shape, targets.shape, data.feature_names[0]
        (torch.Size([8, 13]), torch.Size([8, 1]), 'alcohol')
    """

    collate = staticmethod(as_is)

    def __init__(
        self,
        name: Name | None = None,
        file: str | None = None,
        target: str | Sequence[str] | None = None,
        drop: Sequence[str] = (),
        task: Literal["auto", "classification", "regression"] = "auto",
        validation: float = 0.1,
        test: float = 0.2,
        batch_size: int = 320,
        epoch_rows: int = 12_800,
        *,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        check_shares(validation, test)
        check_at_least(1, epoch_rows=epoch_rows)
        if (name is None) == (file is None):
            raise ValueError("a table has a name or a file: give one of them, such as --data.file my.csv")
        if name is not None and name not in get_args(Name):
            raise ValueError(
                f"name must be one of {', '.join(get_args(Name))}, got {name!r}; a table of yours has a file"
            )
        if name is not None and (target or drop):
            raise ValueError("target and drop are for a file; an embedded table has its own target")
        self.name, self.file, self.drop, self.task = name, file, tuple(drop), task
        self.target = () if target is None else (target,) if isinstance(target, str) else tuple(target)
        self.validation, self.test, self.epoch_rows = validation, test, epoch_rows
        self.feature_names: tuple[str, ...] = ()
        self.target_names: tuple[str, ...] = ()
        self.class_names: tuple[str, ...] = ()
        self.image_shape: tuple[int, int] | None = None
        self.table: np.ndarray[Any, Any] = np.zeros((0, 0))
        self.y: np.ndarray[Any, Any] | None = None
        self.rows: dict[Split, np.ndarray[Any, Any]] = {}
        self.targets: Targets

    def build(self) -> dict[Split, Dataset[Any]]:
        if self.file is not None:
            self._from_file(Path(self.file).expanduser())
        else:
            self._embedded()
        where = self.file or str(self.name)
        try:
            every, classes = encoded_targets(self.table, self.y, self.task)
        except ValueError as error:
            raise DataError(f"{where}: {error}.") from error
        if isinstance(classes, np.ndarray) and not self.class_names:
            self.class_names = tuple(str(each) for each in classes)
        self.rows = self._split(every)
        train = self.rows["train"]
        columns = torch.from_numpy(standardized(self.table, self.table[train])[0])
        values = every.values if every.classes else _standardized(every.values, train)
        self.targets = Targets(values[torch.from_numpy(train)], every.classes)
        repeats = {"train": -(-self.epoch_rows // max(1, len(train)))}
        return {
            split: _Rows(columns[torch.from_numpy(mine)], values[torch.from_numpy(mine)], repeats.get(split, 1))
            for split, mine in self.rows.items()
        }

    def training_table(self) -> tuple[Tensor, Targets]:
        """The training rows: standardised columns, float32 (n, D), and their targets."""
        return self.dataset("train").columns, self.targets

    def raw(self, *splits: Split) -> tuple[Any, Any]:
        """The columns as they are, float64 (n, D), and the targets as they are, of the rows of some splits."""
        self.setup()
        chosen = np.sort(np.concatenate([self.rows[each] for each in splits]))
        return self.table[chosen], None if self.y is None else self.y[chosen]

    def _split(self, every: Targets) -> dict[Split, Any]:
        """Rows of each split; of classes each split has its share."""
        count = len(self.table)
        order = np.random.RandomState(self.seed).permutation(count)
        sizes = [max(1, round(share * count)) if share else 0 for share in (self.validation, self.test)]
        if count - sum(sizes) < 4:
            raise DataError(
                f"{self.file or self.name}: expected rows to train on, at least 4; found {count} rows in all."
            )
        if every.classes:
            order = order[np.argsort(every.values[torch.from_numpy(order), 0].numpy(), kind="stable")]
        # evenly spaced along the classes
        place = np.empty(count, dtype=np.int64)
        place[order] = np.arange(count)
        spread = (place * 0.6180339887498949) % 1.0
        ranked = np.argsort(spread, kind="stable")
        test, validation = ranked[: sizes[1]], ranked[sizes[1] : sum(sizes)]
        return {"train": np.sort(ranked[sum(sizes) :]), "validation": np.sort(validation), "test": np.sort(test)}

    def _embedded(self) -> None:
        try:
            from sklearn import datasets
        except ImportError as error:
            raise DataError(
                "FeatureTable: the embedded tables are scikit-learn's, which is not installed: "
                "pip install 'discrete_lightning[selection]'"
            ) from error
        loaded: Any = getattr(datasets, f"load_{self.name}")()
        self.table, self.y = np.asarray(loaded.data, dtype=np.float64), np.asarray(loaded.target)
        self.feature_names = tuple(str(each) for each in loaded.feature_names)
        names = getattr(loaded, "target_names", ())
        if self.name in ("diabetes", "linnerud"):
            self.target_names = tuple(map(str, names)) or ("progression",)
            self.y = self.y.astype(np.float64)
            self.task = "regression"
        else:
            self.target_names, self.class_names = ("class",), tuple(str(each) for each in names)
        if self.name == "digits":
            self.image_shape = (8, 8)

    def _from_file(self, path: Path) -> None:
        names, values, words = read_table(path, self.target, self.drop)
        self.table, self.feature_names, self.target_names = values, names, self.target
        self.y = None
        if words:
            columns = [_as_numbers(each) for each in words]
            self.y = columns[0] if len(columns) == 1 else np.stack(columns, 1)


class _Rows(Dataset[tuple[Tensor, ...]]):
    """Columns, targets and numbers of rows, `times` over."""

    def __init__(self, columns: Tensor, targets: Tensor, times: int) -> None:
        self.columns, self.targets, self.times = columns, targets, times

    def __len__(self) -> int:
        return self.times * len(self.columns)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(each[0] for each in self.__getitems__([index]))

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, ...]:
        chosen = torch.as_tensor(indices, dtype=torch.int64) % len(self.columns)
        return self.columns[chosen], self.targets[chosen], chosen


def _standardized(values: Tensor, train: Any) -> Tensor:
    rows = values[torch.from_numpy(train)]
    spread = rows.std(0, unbiased=False)
    return (values - rows.mean(0)) / torch.where(spread > 0, spread, 1.0)


def _as_numbers(words: Sequence[str]) -> Any:
    """Numbers where all cells are numbers, integers where they are whole; else words."""
    try:
        numbers = np.array([float(each) for each in words])
    except ValueError:
        return np.array(words)
    whole = (numbers == np.floor(numbers)) & (np.abs(numbers) < 2**53)  # infinity equals its floor, and is no integer
    return numbers.astype(np.int64) if whole.all() else numbers
