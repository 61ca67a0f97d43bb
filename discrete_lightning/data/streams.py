"""A text as several streams that are read side by side, so that a model's state can go on from batch to batch."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

Batch = tuple[Tensor, Tensor]
NO_TARGET = -100  # what torch's cross-entropy ignores


class TextStreams(Dataset[Batch]):
    """Windows of `rows` equal parts of a text: `rows` successive items are one window of each part, the next `rows` the next.

    A batch of `rows` items in order goes on where the one before ended, row by row; so does what each of R ranks gets of
    `rows` R parts from torch's `DistributedSampler`. Every token but the first is a target once; where a part ends, targets
    are -100 and inputs 0. A `DataLoader` over it needs `collate_fn=as_is`.

    Args:
        tokens: of the text, any integer type, (N,).
        context: tokens of a window, 1 or more.
        rows: number of parts, 1 or more; N - 1 at most.

    Example:
        >>> data = TextStreams(torch.arange(8), context=2, rows=2)
        >>> data.__getitems__([0, 1])[0].tolist(), data.__getitems__([2, 3])[0].tolist(), data.__getitems__([2, 3])[1].tolist()
        ([[0, 1], [4, 5]], [[2, 3], [6, 0]], [[3, 4], [7, -100]])
    """

    def __init__(self, tokens: Tensor, context: int, rows: int) -> None:
        self.tokens, self.context, self.rows = tokens, context, rows
        self.targets = max(0, len(tokens) - 1)
        self.length = -(-self.targets // rows)  # of a part

    def __len__(self) -> int:
        return -(-self.length // self.context) * self.rows

    def __getitem__(self, index: int) -> Batch:
        """Inputs and targets, int64 (context,) or, of the last window, fewer."""
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        inputs, targets = self.__getitems__([index])
        return inputs[0], targets[0]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Inputs and targets, int64 (B, context); of the last windows fewer."""
        each = torch.as_tensor(indices, dtype=torch.int64).unsqueeze(1)
        start = each // self.rows * self.context
        width = min(self.context, self.length - int(start.min())) if len(each) else self.context
        within = start + torch.arange(width)
        place = each % self.rows * self.length + within
        real = (within < self.length) & (place < self.targets)
        place = place.clamp_max(max(0, self.targets - 1))
        inputs, targets = self.tokens[place].to(torch.int64), self.tokens[place + 1].to(torch.int64)
        return inputs.masked_fill(~real, 0), targets.masked_fill(~real, NO_TARGET)
