"""Windows of a text in memory, a whole batch at a time."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

Batch = tuple[Tensor, Tensor]


class TextWindows(Dataset[Batch]):
    """Windows of a text, one after the other, each with the text one token later; what is left at the end is not served.

    A `DataLoader` over it needs `collate_fn=as_is`.

    Args:
        tokens: of the text, any integer type, (N,).
        context: tokens of a window, 1 or more.

    Example:
        >>> inputs, targets = TextWindows(torch.arange(10), context=4)[1]
        >>> inputs.tolist(), targets.tolist()
        ([4, 5, 6, 7], [5, 6, 7, 8])
    """

    def __init__(self, tokens: Tensor, context: int) -> None:
        self.tokens, self.context = tokens, context

    def __len__(self) -> int:
        return max(0, len(self.tokens) - 1) // self.context

    def __getitem__(self, index: int) -> Batch:
        """Inputs and targets, int64 (context,)."""
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        inputs, targets = self.__getitems__([index])
        return inputs[0], targets[0]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Inputs and targets, int64 (B, context)."""
        start = torch.as_tensor(indices, dtype=torch.int64).unsqueeze(1) * self.context
        whole = self.tokens[start + torch.arange(self.context + 1)].to(torch.int64)
        return whole[:, :-1], whole[:, 1:]
