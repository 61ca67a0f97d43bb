"""The progress of a search after each of its steps, in 50 bytes a step."""

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import overload


@dataclass(frozen=True)
class Progress:
    """The state of a search after a step.

    Attributes:
        step, calls: the number of steps and of oracle evaluations so far.
        best_total, best_score: of the best design so far; NaN if there is none.
        mean_score: the mean of the chains' best scores.
        sequence: the best design so far; empty if there is none.
    """

    step: int
    calls: int
    best_total: float
    best_score: float
    mean_score: float
    sequence: str


class Trajectory(Sequence[Progress]):
    """A sequence of `Progress` that can be appended to. A best design is held once, and numbers side by side.

    Example:
        >>> trajectory = Trajectory([Progress(1, 8, -0.5, 0.5, 0.25, "ACGT")])
        >>> trajectory.append(Progress(2, 16, -0.5, 0.5, 0.375, "ACGT"))
        >>> len(trajectory), trajectory[-1].mean_score, trajectory[-1].sequence
        (2, 0.375, 'ACGT')
    """

    def __init__(self, progress: Iterable[Progress] = ()) -> None:
        self._counts, self._values = array("q"), array("d")  # (step, calls, number of the sequence), (three numbers)
        self._sequences: list[str] = []
        for each in progress:
            self.append(each)

    def append(self, now: Progress) -> None:
        """Adds the progress after one more step."""
        if not self._sequences or self._sequences[-1] != now.sequence:
            self._sequences.append(now.sequence)
        self._counts.extend((now.step, now.calls, len(self._sequences) - 1))
        self._values.extend((now.best_total, now.best_score, now.mean_score))

    def best_after(self, calls: float) -> float:
        """The best total after so many oracle calls; NaN before the first design.

        Example:
            >>> Trajectory([Progress(1, 8, -0.5, 0.5, 0.25, "A"), Progress(2, 16, -1.0, 1.0, 0.3, "C")]).best_after(15)
            -0.5
        """
        number = bisect_right(self._counts[1::3], calls)
        return self._values[3 * number - 3] if number else math.nan

    def anytime_total(self) -> float:
        """One number for the whole curve: the mean of the best total over the logarithm of the calls, lower is better.

            1 / ln(N / n) * integral from n to N of best_after(c) dc / c

        N is the number of calls made, and n that of the first design, N / 100 at least. It weighs each doubling of the calls
        alike, as the runtime profiles of Hansen et al. 2021, https://doi.org/10.1080/10556788.2020.1808977, do. NaN without a
        design.

        Example:
            >>> curve = Trajectory([Progress(1, 1, 0.0, 0.0, 0.0, "A"), Progress(2, 10, -1.0, 1.0, 0.3, "C")])
            >>> curve.append(Progress(3, 100, -1.0, 1.0, 0.3, "C"))
            >>> curve.anytime_total()
            -0.5
        """
        points = [(calls, total) for calls, total in zip(self._counts[1::3], self._values[0::3], strict=True)]
        points = [(calls, total) for calls, total in points if math.isfinite(total)]
        if not points:
            return math.nan
        end = points[-1][0]
        start = max(points[0][0], end / 100)
        if start == end:
            return points[-1][1]
        edges = [*(min(max(calls, start), end) for calls, _ in points), end]
        spans = [math.log(after / before) for before, after in pairwise(edges)]
        return sum(span * total for span, (_, total) in zip(spans, points, strict=True)) / math.log(end / start)

    def __len__(self) -> int:
        return len(self._counts) // 3

    @overload
    def __getitem__(self, index: int) -> Progress: ...
    @overload
    def __getitem__(self, index: slice) -> list[Progress]: ...
    def __getitem__(self, index: int | slice) -> Progress | list[Progress]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        first = 3 * range(len(self))[index]
        step, calls, number = self._counts[first : first + 3]
        total, score, mean = self._values[first : first + 3]
        return Progress(step, calls, total, score, mean, self._sequences[number])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __hash__(self) -> int:
        return id(self)
