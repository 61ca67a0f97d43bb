"""The progress of a search after each of its steps, in 50 bytes a step."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
