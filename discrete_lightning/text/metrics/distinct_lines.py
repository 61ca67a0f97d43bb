"""The share of different lines. A sampler that has collapsed onto a few lines shows here, one that varies a phrase does not."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from discrete_lightning.text.metrics.gathered import GatheredMetric
from discrete_lightning.text.metrics.words import Line, as_words, hash_lines


def distinct_lines(lines: Iterable[Line]) -> float:
    """Number of different lines / number of lines; lines of equal words are equal.

    Args:
        lines: strings, whose words are those of `words_of`, or lists of words.

    Returns:
        In [0, 1]; 0 if there are none.

    Raises:
        ValueError: if `lines` is one string.

    Example:
        >>> distinct_lines(["To be, or not to be", "to be or not to be!", "that is the question", ""])
        0.75
    """
    found = [tuple(words) for words in as_words(lines)]
    return len(set(found)) / max(1, len(found))


class DistinctLines(GatheredMetric):
    """`distinct_lines` over all updates and ranks. Hashes of the different lines are kept, 8 bytes each.

    Example:
        >>> metric = DistinctLines()
        >>> metric.update(["To be, or not to be", "that is the question"])
        >>> metric.update(["To be, or not to be", "that is not"])
        >>> metric.compute()
        tensor(0.7500)
    """

    higher_is_better = True
    seen: list[Tensor]
    lines: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("seen", [], dist_reduce_fx="cat")
        self.add_state("lines", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, lines: Iterable[Line]) -> None:
        """Adds lines: see `distinct_lines`."""
        found = hash_lines(as_words(lines))
        self.collect("seen", np.unique(found))
        # a new tensor: a state that inference mode made must not be changed in place
        self.lines = self.lines + len(found)

    def compute(self) -> Tensor:
        different = len(np.unique(self.gathered("seen")))
        return (different / self.lines.clamp_min(1)).float()
