"""Image data sets of Hugging Face's package `datasets`."""

from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from discrete_lightning.data.errors import DataError
from discrete_lightning.data.image_file import Channels, ImageFormat, Resize
from discrete_lightning.data.image_folder import check_same, image_format
from discrete_lightning.data.labels import class_numbers
from discrete_lightning.data.splits import FOLDERS, DrawnSplits, Split

LABELS = ("label", "labels", "fine_label", "class", "target", "y")


class HuggingFaceImages(DrawnSplits):
    """Images of a Hugging Face data set: a folder written by `save_to_disk`, or whatever `load_dataset` takes.

    Needs the package datasets. Images are decoded when they are needed; memory does not grow with their number. Splits that the
    data set does not have are drawn from its training split. Batches are those of `ImageFolder`.

    Args:
        path: a folder, or the name of a data set on the Hub.
        image: the column of images; None takes the first one of that type.
        label: the column of labels, integers or words; None takes a column named label, labels, fine_label, class, target or y,
            if there is one.
        size, channels, resize, max_value: see `ImageFolder`.
        validation: share of the training images, in [0, 1), where there is no such split.
        test: likewise.
        batch_size: images a batch and device, 1 or more.
        num_workers: processes that decode images.
        seed: of the split.

    Raises:
        ValueError: an argument is out of its range.
        DataError: datasets is not installed, cannot load the data, or finds no images in it; or an image does not have the size
            and the channels of the first one.

    Attributes:
        class_names: of the labels; empty without labels.
        image_shape: (C, H, W).

    Example:
        >>> data = HuggingFaceImages("flowers", size=64, channels=3, batch_size=32)
    """

    def __init__(
        self,
        path: str,
        image: str | None = None,
        label: str | None = None,
        size: int | tuple[int, int] | None = None,
        channels: Channels | None = None,
        resize: Resize = "crop",
        max_value: float | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        batch_size: int = 64,
        *,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(validation, test, batch_size, num_workers, seed)
        self.path, self.image, self.label = path, image, label
        self.format = image_format(size, channels, resize, max_value)

    def prepare_data(self) -> None:
        """Download what is not in the cache, in one process of each machine."""
        _load(self.path)

    def build(self) -> dict[Split, Dataset[Any]]:
        tables = _splits(_load(self.path), self.path)
        features = tables["train"].features
        image = self.image or next((name for name, each in features.items() if type(each).__name__ == "Image"), None)
        if image is None or image not in features:
            raise DataError(
                f"{self.path}: expected a column of images{f' {image}' * bool(image)}, found {list(features)}."
            )
        label = self.label or next((name for name in LABELS if name in features), None)
        if label is not None and label not in features:
            raise DataError(f"{self.path}: label={label!r}: there is no such column; found {list(features)}.")
        columns = {split: None if label is None else np.asarray(list(table[label])) for split, table in tables.items()}
        numbers, self.class_names = class_numbers(columns, self.path)
        if label is not None and hasattr(features[label], "names"):
            self.class_names = tuple(features[label].names)
        first = TableImages(tables["train"], image, None, self.format, f"{self.path}, train", None)[0]
        self.image_shape = tuple(first.shape)
        found: dict[Split, Dataset[Any]] = {
            split: TableImages(table, image, numbers[split], self.format, f"{self.path}, {split}", self.image_shape)
            for split, table in tables.items()
        }
        return self.with_drawn(found, self.path)


class TableImages(Dataset[Any]):
    """The images of a column of a `datasets.Dataset`.

    Args:
        table: the data set.
        column: of the images.
        labels: int64 (N,), or None.
        format: what they are made to be.
        name: in messages.
        shape: that all have to have, or None.
    """

    def __init__(
        self, table: Any, column: str, labels: Any, format: ImageFormat, name: str, shape: tuple[int, ...] | None
    ) -> None:
        self.table, self.column, self.labels = table.select_columns([column]), column, labels
        self.format, self.name, self.shape = format, name, shape

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Any:
        """An image (C, H, W), with its label if there are labels."""
        name = f"{self.name}, row {index}"
        image = self.table[index][self.column]
        if not hasattr(image, "getbands"):
            raise DataError(f"{name}: expected an image in column {self.column}, found {type(image).__name__}.")
        pixels = self.format.convert(image, name)
        if self.shape is not None:
            check_same(pixels, name, "row 0 of train", self.shape)
        return pixels if self.labels is None else (pixels, self.labels[index])


def _load(path: str) -> Any:
    try:
        import datasets  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise DataError(
            "HuggingFaceImages reads with the package datasets, which is not installed: "
            "pip install 'discrete_lightning[datasets]'"
        ) from None
    folder = Path(path).expanduser()
    saved = any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))
    try:
        return datasets.load_from_disk(str(folder)) if saved else datasets.load_dataset(path)
    except Exception as error:  # of many kinds: no connection, no such data set, damaged files
        raise DataError(f"{path}: datasets cannot load it: {' '.join(str(error).split())}") from error


def _splits(loaded: Any, path: str) -> dict[Split, Any]:
    if not isinstance(loaded, dict):
        return {"train": loaded}
    found: dict[Split, Any] = {}
    for split, names in FOLDERS.items():
        if present := [name for name in names if name in loaded]:
            found[split] = loaded[present[0]]
    if "train" not in found:
        raise DataError(f"{path}: expected a split train, found {', '.join(loaded)}.")
    return found
