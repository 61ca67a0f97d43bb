"""Rows of several tensors, a whole batch at a time."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset


class Rows(Dataset[tuple[Tensor, ...]]):
    """Tensors of N rows each. A `DataLoader` over it needs `collate_fn=as_is`.

    Example:
        >>> Rows(torch.arange(4), torch.arange(4) * 10).__getitems__([3, 1])
        (tensor([3, 1]), tensor([30, 10]))
    """

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        """One row of each."""
        return tuple(each[index] for each in self.tensors)

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, ...]:
        """The rows of each, (B, ...)."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        return tuple(each[chosen] for each in self.tensors)
