"""A small catalogue of items."""

from typing import Any

import torch
from torch.utils.data import Dataset, TensorDataset

from discrete_lightning.data.splits import Split, SplitDataModule


class TinyItems(SplitDataModule):
    """40 vectors of 4 numbers, the same in each split."""

    def __init__(self, batch_size: int = 8) -> None:
        super().__init__(batch_size, num_workers=0, seed=0)

    def build(self) -> dict[Split, Dataset[Any]]:
        vectors = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
        items = TensorDataset(vectors, torch.arange(40))
        return {"train": items, "validation": items, "test": items}
