"""Distinct-n: the variety of runs of n words (Li et al. 2016, https://arxiv.org/abs/1510.03055).

distinct-n = number of different runs of n words / number of runs of n words
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from discrete_lightning.text.metrics.gathered import GatheredMetric
from discrete_lightning.text.metrics.words import Line, as_words, check_length, hash_runs


def distinct_n(lines: Iterable[Line], n: int = 2) -> float:
    """The share of different runs among all runs of n words. It falls as there are more lines: compare equal numbers.

    Args:
        lines: strings, whose words are those of `words_of`, or lists of words. A run lies within a line.
        n: words of a run, 1 or more.

    Returns:
        In [0, 1]; 0 if no line has n words.

    Raises:
        ValueError: if n < 1, or `lines` is one string.

    Example:
        >>> distinct_n(["To be, or not to be", "that is the question"])  # "to be" twice: 7 of 8
        0.875
    """
    check_length(n)
    runs = [tuple(words[i : i + n]) for words in as_words(lines) for i in range(len(words) - n + 1)]
    return len(set(runs)) / max(1, len(runs))


class DistinctN(GatheredMetric):
    """`distinct_n` over all lines of all updates and ranks. Hashes of the different runs are kept, 8 bytes each.

    Args:
        n: words of a run, 1 or more.

    Example:
        >>> metric = DistinctN(n=2)
        >>> metric.update(["To be, or not to be"])
        >>> metric.update(["that is the question"])
        >>> metric.compute()
        tensor(0.8750)
    """

    higher_is_better = True
    seen: list[Tensor]
    runs: Tensor

    def __init__(self, n: int = 2) -> None:
        super().__init__()
        check_length(n)
        self.n = n
        self.add_state("seen", [], dist_reduce_fx="cat")
        self.add_state("runs", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, lines: Iterable[Line]) -> None:
        """Adds lines: see `distinct_n`."""
        runs = hash_runs(as_words(lines), self.n)
        self.collect("seen", np.unique(runs))
        # a new tensor: a state that inference mode made must not be changed in place
        self.runs = self.runs + len(runs)

    def compute(self) -> Tensor:
        different = len(np.unique(self.gathered("seen")))
        return (different / self.runs.clamp_min(1)).float()
