"""Images or features in NumPy's files."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from discrete_lightning.data.errors import DataError
from discrete_lightning.data.image_folder import image_format
from discrete_lightning.data.labels import class_numbers
from discrete_lightning.data.pixels import to_unit
from discrete_lightning.data.splits import FOLDERS, DrawnSplits, Split
from discrete_lightning.storage.arrays import read_arrays
from discrete_lightning.storage.gunzip import PackedError

IMAGES = ("images", "image", "imgs", "x", "data", "pixels", "arr_0")
LABELS = ("labels", "label", "y", "targets", "target")


class Arrays(DrawnSplits):
    """Images (N, H, W), (N, C, H, W) or (N, H, W, C), or features (N, D), in an NPY or NPZ file.

    An NPZ file has an array `images` (or `x`, `data`, ...) and maybe `labels` (or `y`, ...), or such a pair for each split:
    `train_images`, `val_images`, `x_train`, `y_test` and the like. Splits that are not there are drawn from the training data.
    An NPY file is read row by row when rows are needed: memory does not grow with it. An NPZ file is held in memory.

    Batches are `(images, labels)`, or images where there are no labels: float32 (B, C, H, W) or (B, D) in [0, 1], and int64
    (B,).

    Args:
        path: of the file.
        labels: an NPY file of integers (N,), beside an NPY file of images.
        channels: where the dimension of channels is, "first" or "last"; None decides by the shape, if it can.
        max_value: the value that becomes 1; by default 255 for uint8 and 65,535 for uint16. Needed for numbers of another type
            that are not in [0, 1].
        validation: share of the training data, in [0, 1), where the file has no such split.
        test: likewise.
        batch_size: examples a batch and device, 1 or more.
        num_workers: processes that read rows.
        seed: of the split.

    Raises:
        ValueError: an argument is out of its range.
        DataError: the file cannot be read, or holds something else, or (when a row is read) a value is out of range; the
            message names file and row.

    Attributes:
        class_names: the labels that occur, sorted; empty without labels.
        image_shape: (C, H, W), or (D,).

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/mine.npz"
        >>> np.savez(path, images=np.zeros((20, 8, 8, 3), np.uint8), labels=np.arange(20) % 2)
        >>> images, labels = next(iter(Arrays(path, batch_size=4).train_dataloader()))
        >>> images.shape, labels.shape
        (torch.Size([4, 3, 8, 8]), torch.Size([4]))
    """

    def __init__(
        self,
        path: str,
        labels: str | None = None,
        channels: Literal["first", "last"] | None = None,
        max_value: float | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        batch_size: int = 64,
        *,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(validation, test, batch_size, num_workers, seed)
        if channels not in (None, "first", "last"):
            raise ValueError(f"channels={channels!r}: expected 'first' or 'last', or none to decide by the shape.")
        image_format(None, None, "crop", max_value)
        self.path, self.labels, self.channels, self.max_value = path, labels, channels, max_value

    def build(self) -> dict[Split, Dataset[Any]]:
        path = Path(self.path).expanduser()
        opened = open_array(path)
        if isinstance(opened, np.ndarray):
            labels = None if self.labels is None else open_array(Path(self.labels).expanduser())
            pairs: dict[Split, tuple[Any, Any]] = {"train": (opened, labels)}
        elif self.labels is not None:
            raise DataError(f"labels={self.labels}: belongs to an NPY file; {path} holds several arrays itself.")
        else:
            pairs = _pairs(opened, path)
        numbers, self.class_names = class_numbers({split: pair[1] for split, pair in pairs.items()}, str(path))
        found: dict[Split, Dataset[Any]] = {}
        for split, (images, _) in pairs.items():
            held = None if isinstance(images, np.memmap) else images
            axis = _channel_axis(images.shape, self.channels, path)
            labels = numbers[split]
            if labels is not None and len(labels) != len(images):
                raise DataError(f"{path}: expected a label for each image, found {len(images)} and {len(labels)}.")
            if not len(images):
                raise DataError(f"{path}: expected images, found none for {split}.")
            if images.dtype == np.uint8 and self.max_value is None and images[:1000].max() == 1:
                raise DataError(
                    f"{path}: bytes of 0 and 1 only: set max_value to 1, or to 255 if they are nearly black."
                )
            found[split] = ArrayRows(path, held, labels, axis, self.max_value)
        sizes = {tuple(each[0].shape if labels is None else each[0][0].shape) for each in found.values()}
        if len(sizes) > 1:
            raise DataError(f"{path}: expected one shape in all splits, found {' and '.join(map(str, sorted(sizes)))}.")
        self.image_shape = sizes.pop()
        return self.with_drawn(found, str(path))


class ArrayRows(Dataset[Any]):
    """Rows of an array.

    Args:
        path: of the file.
        held: the array, or None to read rows from the NPY file when they are needed.
        labels: int64 (N,), or None.
        axis: of the channels in (N, ...), or None if there is no such axis.
        max_value: see `to_unit`.
    """

    def __init__(self, path: Path, held: Any, labels: Any, axis: int | None, max_value: float | None) -> None:
        self.path, self.held, self.labels, self.axis, self.max_value = path, held, labels, axis, max_value
        self._opened: Any = None

    @property
    def _array(self) -> Any:
        if self.held is not None:
            return self.held
        if self._opened is None:
            self._opened = open_array(self.path)
        return self._opened

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}  # a worker opens the file itself; pickled, it would be copied

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, index: int) -> Any:
        """A row, with its label if there are labels."""
        values: Tensor = to_unit(np.array(self._array[index]), self.max_value, f"{self.path}, row {index}")
        if values.ndim > 1:
            values = values[None] if self.axis is None else values.movedim(self.axis - 1, 0).contiguous()
        return values if self.labels is None else (values, self.labels[index])


def open_array(path: Path) -> Any:
    """The array of an NPY file, which stays on disk, or a dictionary of the arrays of an NPZ file.

    Raises:
        DataError: it cannot be read.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file (the working directory is {Path.cwd()}).")
    try:
        return read_arrays(path)
    except (OSError, PackedError) as error:
        raise DataError(f"{path}: cannot be read as NPY or NPZ: {error}.") from error


def _pairs(arrays: dict[str, Any], path: Path) -> dict[Split, tuple[Any, Any]]:
    known = {name.lower(): values for name, values in arrays.items()}
    pairs: dict[Split, tuple[Any, Any]] = {}
    for split, words in FOLDERS.items():
        images, labels = (
            next((known[name] for word in words for key in keys for name in _names(word, key) if name in known), None)
            for keys in (IMAGES, LABELS)
        )
        if images is not None:
            pairs[split] = images, labels
    if "train" not in pairs:
        images, labels = (next((known[key] for key in keys if key in known), None) for keys in (IMAGES, LABELS))
        images = next(iter(known.values())) if images is None and len(known) == 1 else images
        if images is None or pairs:
            shapes = ", ".join(f"{name} {values.shape}" for name, values in arrays.items())
            raise DataError(f"{path}: expected an array images, or train_images, found {shapes or 'none'}.")
        pairs["train"] = images, labels
    return pairs


def _names(word: str, key: str) -> tuple[str, ...]:
    return f"{word}_{key}", f"{key}_{word}", *((word,) if key == "images" else ())


def _channel_axis(shape: tuple[int, ...], channels: str | None, path: Path) -> int | None:
    if len(shape) in (2, 3):
        return None
    if len(shape) != 4:
        raise DataError(f"{path}: expected (N, D), (N, H, W), (N, C, H, W) or (N, H, W, C), found {shape}.")
    if channels is None:
        first, last = shape[1] < min(shape[2:]), shape[3] < min(shape[1:3])
        if first == last:
            raise DataError(f"{path}: {shape} does not show where the channels are: set channels to first or last.")
        return 1 if first else 3
    return 1 if channels == "first" else 3
