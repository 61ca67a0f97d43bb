"""Base of the data modules: three splits, and the loaders of each."""

import os
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Subset

from discrete_lightning.data.errors import DataError

Split = Literal["train", "validation", "test"]
FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("val", "validation", "valid", "dev"),
    "test": ("test", "testing"),
}


class SplitDataModule(LightningDataModule, ABC):
    """Base of the data modules of this package; a subclass says what `build` returns.

    Training batches are shuffled and all of one size (the remainder is left out, another one in each epoch). Evaluation is in
    order and complete. `predict` serves the test split; without one, the validation split; without either, the training split.

    Args:
        batch_size: examples a batch and device, 1 or more.
        num_workers: processes that prepare batches, 0 (the training process itself) or more.
        seed: of all that is random in the data, 0 or more.

    Raises:
        ValueError: an argument is out of its range, or (in `train_dataloader`) `batch_size` is larger than a rank's
            share of the training split.
    """

    collate: ClassVar[Any] = None  # the loaders' collate_fn

    def __init__(self, batch_size: int, num_workers: int, seed: int) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: expected 1 or more examples a batch.")
        most = max(32, 4 * (os.cpu_count() or 1))
        if not 0 <= num_workers <= most:
            raise ValueError(
                f"num_workers={num_workers}: expected 0 (load in the training process) to {most}: this machine has "
                f"{os.cpu_count()} cores."
            )
        if seed < 0:
            raise ValueError(f"seed={seed}: expected 0 or more.")
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self._datasets: dict[Split, Dataset[Any]] = {}

    @abstractmethod
    def build(self) -> dict[Split, Dataset[Any]]:
        """The data set of each split; an empty one where there is none. Called once."""

    def setup(self, stage: str | None = None) -> None:
        if not self._datasets:
            self._datasets = self.build()

    def dataset(self, split: Split) -> Any:
        """A split as a data set."""
        self.setup()
        return self._datasets[split]

    def train_dataloader(self) -> DataLoader[Any]:
        ranks = 1 if self.trainer is None else self.trainer.world_size
        share = -(-len(self.dataset("train")) // ranks)
        if share < self.batch_size:
            raise ValueError(
                f"batch_size={self.batch_size}: expected at most {share}, since only full batches are used in training "
                f"and there are {len(self.dataset('train')):,} examples for {ranks} device(s)."
            )
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        # Lightning takes an empty list for "no validation" and warns of an empty loader
        return self._loader("validation") if len(self.dataset("validation")) else []

    def test_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        return self._loader("test") if len(self.dataset("test")) else []

    def predict_dataloader(self) -> DataLoader[Any]:
        order: tuple[Split, ...] = ("test", "validation", "train")
        return self._loader(next(split for split in order if len(self.dataset(split))))

    def _loader(self, split: Split, shuffle: bool = False) -> DataLoader[Any]:
        # Plain shuffle and batch_size rather than a sampler of our own: Lightning can swap in its DistributedSampler
        return DataLoader(
            self.dataset(split),
            batch_size=self.batch_size,
            shuffle=shuffle,
            drop_last=shuffle,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            collate_fn=type(self).collate,
        )


class DrawnSplits(SplitDataModule):
    """Base of data modules whose validation and test splits are drawn from the training data where there are none.

    Args:
        validation: share of the training data, in [0, 1).
        test: likewise.
        batch_size, num_workers, seed: see SplitDataModule.

    Raises:
        ValueError: an argument is out of its range.

    Attributes:
        class_names: of the labels; empty without labels.
        image_shape: of an example; empty until the data were looked at.
    """

    def __init__(self, validation: float, test: float, batch_size: int, num_workers: int, seed: int) -> None:
        super().__init__(batch_size, num_workers, seed)
        check_shares(validation, test)
        self.validation, self.test = validation, test
        self.class_names: tuple[str, ...] = ()
        self.image_shape: tuple[int, ...] = ()

    def with_drawn(self, found: dict[Split, Dataset[Any]], name: str) -> dict[Split, Dataset[Any]]:
        """The splits that were found, and those that are drawn; `name` is that of the data in messages."""
        return all_splits(found, self.validation, self.test, self.seed, name)


def check_shares(validation: float, test: float) -> None:
    """Raises ValueError unless the shares leave something to train on."""
    for name, share in (("validation", validation), ("test", test)):
        if not 0 <= share < 1:
            raise ValueError(f"{name}={share}: expected a share of the training data in [0, 1).")
    if validation + test >= 1:
        raise ValueError(f"validation={validation} and test={test}: expected shares that leave something to train on.")


def all_splits(
    found: dict[Split, Dataset[Any]], validation: float, test: float, seed: int, name: str
) -> dict[Split, Dataset[Any]]:
    """The three splits of data that has a training split and maybe others; those missing are drawn from the training split.

    Args:
        found: what there is.
        validation: share of the training data, in [0, 1); at least one example unless it is 0.
        test: likewise.
        seed: of the draw, which depends on nothing else.
        name: of the data, in messages.

    Raises:
        DataError: there are too few examples.

    Example:
        >>> import torch
        >>> from torch.utils.data import TensorDataset
        >>> splits = all_splits({"train": TensorDataset(torch.arange(20))}, 0.1, 0.2, seed=0, name="twenty numbers")
        >>> {split: len(data) for split, data in splits.items()}
        {'train': 14, 'validation': 2, 'test': 4}
    """
    train: Any = found["train"]
    shares: dict[Split, float] = {"validation": validation, "test": test}
    counts = {
        split: max(1, round(share * len(train))) if share else 0
        for split, share in shares.items()
        if split not in found
    }
    if len(train) <= sum(counts.values()):
        wanted = ", ".join(f"{count} for {split}" for split, count in counts.items())
        raise DataError(f"{name}: expected more examples than {wanted or 'none'}, found {len(train)}.")
    # RandomState's stream is frozen by numpy's promise
    order = np.random.RandomState(seed).permutation(len(train))
    result, start = dict(found), 0
    for split, count in counts.items():
        result[split] = Subset(train, np.sort(order[start : start + count]).tolist())
        start += count
    if start:
        result["train"] = Subset(train, np.sort(order[start:]).tolist())
    return {split: result[split] for split in FOLDERS}
