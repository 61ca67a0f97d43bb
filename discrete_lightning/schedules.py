"""Schedules: pure functions of a counter. A resumed run continues one exactly with no saved state."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass


class Schedule(ABC):
    """Maps a counter to a value: of optimiser steps, batches or epochs, or the share of the run that is over, in [0, 1].

    The user of the schedule chooses the counter: see `Annealing`. If it is the share of the run, `steps=1` is the whole run
    and `steps=0.5` its first half.
    """

    @abstractmethod
    def __call__(self, step: float) -> float:
        """The value at `step` >= 0."""

    @property
    def length(self) -> float:
        """The value of the counter at which its `steps` end; 0 if it has no `steps`."""
        return 0.0


def _require(condition: bool, schedule: Schedule, rule: str) -> None:
    if not condition:
        raise ValueError(f"{schedule} is not a schedule: {rule}")


def _require_finite(schedule: Schedule, *values: float) -> None:
    _require(all(math.isfinite(value) for value in values), schedule, "its values must be finite numbers")


@dataclass(frozen=True)
class Constant(Schedule):
    """The same value at every step.

    Example:
        >>> Constant(0.5)(1000)
        0.5
    """

    value: float

    def __post_init__(self) -> None:
        _require_finite(self, self.value)

    def __call__(self, step: float) -> float:
        return self.value


@dataclass(frozen=True)
class Linear(Schedule):
    """From `start` to `end` in `steps` equal parts, `end` from then on.

    Example:
        >>> [Linear(1.0, 0.5, steps=10)(step) for step in (0, 5, 10, 99)]
        [1.0, 0.75, 0.5, 0.5]
    """

    start: float
    end: float
    steps: int | float

    def __post_init__(self) -> None:
        _require_finite(self, self.start, self.end)
        _require(0 < self.steps < math.inf, self, "steps must be positive and finite")

    @property
    def length(self) -> float:
        return self.steps

    def __call__(self, step: float) -> float:
        if step >= self.steps:
            return self.end  # to the bit
        return self.start + (self.end - self.start) * (step / self.steps)


@dataclass(frozen=True)
class Cosine(Schedule):
    """From `start` to `end` along half a cosine over `steps`, `end` from then on.

    Example:
        >>> [round(Cosine(1.0, 0.0, steps=10)(step), 3) for step in (0, 5, 10)]
        [1.0, 0.5, 0.0]
    """

    start: float
    end: float
    steps: int | float

    def __post_init__(self) -> None:
        _require_finite(self, self.start, self.end)
        _require(0 < self.steps < math.inf, self, "steps must be positive and finite")

    @property
    def length(self) -> float:
        return self.steps

    def __call__(self, step: float) -> float:
        if step <= 0 or step >= self.steps:
            return self.end if step > 0 else self.start  # to the bit
        return self.end + (self.start - self.end) * 0.5 * (1.0 + math.cos(math.pi * step / self.steps))


@dataclass(frozen=True)
class Exponential(Schedule):
    """max(minimum, start * exp(-rate * step)): the schedule of Jang et al. 2016, https://arxiv.org/abs/1611.01144.

    Example:
        >>> schedule = Exponential(start=1.0, rate=1e-3, minimum=0.5)
        >>> round(schedule(100), 4), schedule(10_000)
        (0.9048, 0.5)
    """

    start: float = 1.0
    rate: float = 1e-4
    minimum: float = 0.0

    def __post_init__(self) -> None:
        _require_finite(self, self.start, self.rate, self.minimum)
        _require(self.rate >= 0, self, "rate must not be negative (the value would grow without bound)")
        _require(self.start >= self.minimum, self, "start must not be below minimum (nothing would decay)")

    def __call__(self, step: float) -> float:
        return max(self.minimum, self.start * math.exp(-self.rate * step))


@dataclass(frozen=True)
class Staircase(Schedule):
    """Holds the value of another schedule for `every` steps: Jang et al. update tau every 500 or 1,000 steps.

    Example:
        >>> schedule = Staircase(Linear(1.0, 0.0, steps=100), every=10)
        >>> schedule(19) == schedule(10)
        True
    """

    schedule: Schedule
    every: int | float

    def __post_init__(self) -> None:
        _require(0 < self.every < math.inf, self, "every must be positive and finite")

    @property
    def length(self) -> float:
        return self.every * max(1, self._stairs(self.schedule.length, math.ceil))

    def __call__(self, step: float) -> float:
        return self.schedule(self.every * self._stairs(step, math.floor))

    def _stairs(self, step: float, rounded: Callable[[float], int]) -> int:
        """Whole stairs in `step`. A share such as 0.3 is three stairs of 0.1, and its quotient 2.9999999999999996."""
        stairs = step / self.every
        return round(stairs) if math.isclose(stairs, round(stairs), rel_tol=1e-12) else rounded(stairs)


@dataclass(frozen=True)
class Delayed(Schedule):
    """Holds a schedule's first value for `steps`, then starts it.

    Example:
        >>> schedule = Delayed(Linear(1.0, 0.0, steps=10), steps=5)
        >>> schedule(5), schedule(10)
        (1.0, 0.5)
    """

    schedule: Schedule
    steps: int | float

    def __post_init__(self) -> None:
        _require(0 <= self.steps < math.inf, self, "steps must not be negative, and finite")

    @property
    def length(self) -> float:
        return self.steps + self.schedule.length

    def __call__(self, step: float) -> float:
        return self.schedule(max(0, step - self.steps))
