"""A sample of a choice, and which options it stands for: what a OneOf runs is decided by Python, so indices are read from the
device, once for all choices of a shared draw."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Draw:
    """A sample (count, K) of a choice.

    Args:
        sample: rows that are one-hot, or mixtures.
        indices: of the largest entry of each row; read from `sample` at the first use if None.
        decision: whether `decide` chose them: a OneOf then runs the decided option alone, also where samples are mixtures.

    Example:
        >>> Draw(torch.tensor([[0.0, 1.0], [0.7, 0.3]])).indices
        [1, 0]
    """

    def __init__(self, sample: Tensor, indices: list[int] | None = None, decision: bool = False) -> None:
        self.sample, self.decision = sample, decision
        self._indices = indices

    @property
    def indices(self) -> list[int]:
        """The index of the largest entry of each row, as Python numbers."""
        if self._indices is None:
            read_indices([self])
        assert self._indices is not None
        return list(self._indices)

    def detach(self) -> "Draw":
        """The same draw without a graph."""
        return Draw(self.sample.detach(), self._indices, self.decision)


def read_indices(draws: Sequence[Draw]) -> None:
    """Reads the indices of several draws from their device at once.

    Args:
        draws: their samples may be of different sizes; at least one.
    """
    device = draws[0].sample.device
    chosen = [draw.sample.detach().argmax(-1).to(device) for draw in draws]
    for draw, part in zip(draws, _split(torch.cat(chosen).tolist(), [len(each) for each in chosen]), strict=True):
        draw._indices = part


def _split(values: list[int], sizes: Sequence[int]) -> list[list[int]]:
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return [values[end - size : end] for end, size in zip(ends, sizes, strict=True)]
