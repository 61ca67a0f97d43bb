"""Self-BLEU: how alike generated lines are (Zhu et al. 2018, https://arxiv.org/abs/1802.01886; BLEU: Papineni et al. 2002).

    BLEU of a line against all others = BP exp(1/n sum_{k=1..n} log p_k)

p_k is the share of the line's runs of k words that stand in another line, each counted at most as often as in the one of the
others that has it most often; BP = exp(1 - r / c) if the line's length c is less than r, the length among the others that is
nearest to c (the shorter of two). A p_k without a match is .1 / number of runs (smoothing method 1 of Chen & Cherry 2014), and
a line that shares no word has 0. Counts are kept of the two lines that have a run most often: linear in the words.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from discrete_lightning.text.metrics.gathered import GatheredMetric
from discrete_lightning.text.metrics.words import Line, as_words, check_length, hash_words

_NO_MATCH = 0.1


def self_bleu(lines: Iterable[Line], n: int = 4) -> float:
    """The mean over lines of the BLEU of a line against all others: 1 if all are equal, near 0 if they share little.

    Args:
        lines: two or more: strings, whose words are those of `words_of`, or lists of words. It rises as there are more lines:
            compare equal numbers.
        n: the longest runs of words that are compared, with equal weights.

    Returns:
        In [0, 1].

    Raises:
        ValueError: if n < 1, there are fewer than two lines, or `lines` is one string.

    Example:
        >>> self_bleu(["to be or not to be", "to be or not to be"])
        1.0
        >>> round(self_bleu(["the cat sat down", "the cat ran off"], n=2), 4)  # sqrt(2/4 * 1/3)
        0.4082
    """
    check_length(n)
    return _mean_bleu(as_words(lines), n)


def _mean_bleu(lines: Sequence[Sequence[Hashable]], n: int) -> float:
    if len(lines) < 2:
        raise ValueError(f"self-BLEU compares a line with the others: it needs two or more lines, got {len(lines)}")
    logs = np.zeros(len(lines))
    for k in range(1, n + 1):
        counts = [Counter(tuple(line[i : i + k]) for i in range(len(line) - k + 1)) for line in lines]
        most = _two_highest(counts)
        for number, mine in enumerate(counts):
            matched = 0
            for run, count in mine.items():
                first, holder, second = most[run]
                matched += min(count, second if holder == number else first)
            if k == 1 and not matched:
                logs[number] = -math.inf
            logs[number] += math.log((matched or _NO_MATCH) / max(1, mine.total())) / n
    lengths = sorted(map(len, lines))
    return float(np.mean([_brevity(len(line), lengths) * math.exp(log) for line, log in zip(lines, logs, strict=True)]))


def _two_highest(counts: Sequence[Counter[tuple[Hashable, ...]]]) -> dict[tuple[Hashable, ...], tuple[int, int, int]]:
    """For each run the highest count, the number of the line that has it, and the highest count of the other lines."""
    most: dict[tuple[Hashable, ...], tuple[int, int, int]] = {}
    for number, mine in enumerate(counts):
        for run, count in mine.items():
            first, holder, second = most.get(run, (0, -1, 0))
            most[run] = (count, number, first) if count > first else (first, holder, max(second, count))
    return most


def _brevity(length: int, lengths: list[int]) -> float:
    """The brevity penalty of a line of `length` words, one of the sorted `lengths`."""
    if not length:
        return 0.0
    mine = bisect_left(lengths, length)
    others = lengths[max(0, mine - 1) : mine] + lengths[mine + 1 : mine + 2]  # the nearest on either side
    nearest = min(others, key=lambda other: (abs(other - length), other))
    return min(1.0, math.exp(1 - nearest / length))


class SelfBLEU(GatheredMetric):
    """`self_bleu` over all lines of all updates and ranks. A hash of each word is kept, 8 bytes.

    Args:
        n: the longest runs of words that are compared.

    Raises:
        ValueError: if n < 1; in `compute`, if there were fewer than two lines.

    Example:
        >>> metric = SelfBLEU(n=2)
        >>> metric.update(["the cat sat down"])
        >>> metric.update(["the cat ran off"])
        >>> metric.compute()
        tensor(0.4082)
    """

    higher_is_better = False
    words: list[Tensor]
    lengths: list[Tensor]

    def __init__(self, n: int = 4) -> None:
        super().__init__()
        check_length(n)
        self.n = n
        self.add_state("words", [], dist_reduce_fx="cat")
        self.add_state("lengths", [], dist_reduce_fx="cat")

    def update(self, lines: Iterable[Line]) -> None:
        """Adds lines: see `self_bleu`."""
        found = as_words(lines)
        self.collect("words", hash_words([word for line in found for word in line]))
        self.collect("lengths", np.array([len(line) for line in found], dtype=np.int64))

    def compute(self) -> Tensor:
        words, ends = self.gathered("words").tolist(), np.cumsum(self.gathered("lengths"))
        lines = [words[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        return torch.tensor(_mean_bleu(lines, self.n), dtype=torch.float32, device=self.device)
