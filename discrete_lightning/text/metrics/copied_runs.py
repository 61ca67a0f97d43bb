"""Copied runs: how many of the runs of n words in generated lines stand in the training text.

In English verse about 3 to 4 % of runs of four words recur in other works of the same writer, so the figure of held-out text
is the one to compare with, not 0.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from discrete_lightning.text.metrics.words import Line, as_words, check_length, hash_runs, words_of


def copied_runs(lines: Iterable[Line], corpus: str | Iterable[Line], n: int = 5) -> float:
    """The share of runs of n words in `lines` that stand in `corpus`. Of many calls with one corpus use `CopiedRuns`.

    Args:
        lines: strings, whose words are those of `words_of`, or lists of words. A run lies within a line.
        corpus: one text, whose runs may go over line ends, or lines, within which its runs lie.
        n: words of a run, 1 or more.

    Returns:
        In [0, 1]; 0 if no line has n words.

    Raises:
        ValueError: if n < 1, or `lines` is one string.

    Example:
        >>> copied_runs(["to be or not to go"], "To be, or not to be, that is the question", n=3)
        0.75
    """
    metric = CopiedRuns(corpus, n)
    metric.update(lines)
    return float(metric.copied) / max(1, int(metric.runs))


class CopiedRuns(Metric):
    """`copied_runs` over all updates and ranks. Hashes of the corpus's runs are kept, 8 bytes each.

    Args:
        corpus: one text, whose runs may go over line ends, or lines, within which its runs lie.
        n: words of a run, 1 or more.

    Raises:
        ValueError: if n < 1, or the corpus has no run of n words.

    Example:
        >>> metric = CopiedRuns("To be, or not to be, that is the question", n=3)
        >>> metric.update(["to be or not to go"])
        >>> metric.compute()
        tensor(0.7500)
    """

    is_differentiable = False
    full_state_update = False
    higher_is_better = False
    copied: Tensor
    runs: Tensor

    def __init__(self, corpus: str | Iterable[Line], n: int = 5) -> None:
        super().__init__()
        check_length(n)
        self.n = n
        texts = [words_of(corpus)] if isinstance(corpus, str) else as_words(corpus)
        self.known = np.unique(hash_runs(texts, n))
        if not len(self.known):
            raise ValueError(f"the corpus has no run of {n} words: {len(texts)} lines, {sum(map(len, texts))} words")
        self.add_state("copied", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("runs", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, lines: Iterable[Line]) -> None:
        """Adds lines: see `copied_runs`."""
        runs = hash_runs(as_words(lines), self.n)
        nearest = np.searchsorted(self.known, runs).clip(max=len(self.known) - 1)
        # new tensors: a state that inference mode made must not be changed in place
        self.copied = self.copied + int((self.known[nearest] == runs).sum())
        self.runs = self.runs + len(runs)

    def compute(self) -> Tensor:
        return (self.copied / self.runs.clamp_min(1)).float()
