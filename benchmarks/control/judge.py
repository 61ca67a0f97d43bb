"""One judge for every contestant: the mean return of whole episodes of gymnasium's environments, and what a run came to."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

Act = Callable[[Any, Any], Any]
"""Observations of the environments that still run, as gymnasium gives them, and their action masks where they have any, stacked
-> their actions."""


@dataclass(frozen=True)
class Run:
    """What a run came to.

    Attributes:
        solved: environment steps until a look at the argmax policy gave the threshold; None: never.
        seconds_to_solved: CPU seconds of training until then.
        final: mean return of the argmax policy at the end.
        seconds: CPU seconds of training, looks not counted.
        steps: environment steps of training.
    """

    solved: int | None
    seconds_to_solved: float | None
    final: float
    seconds: float
    steps: int


def greedy_return(environment: str, act: Act, episodes: int = 100, seed: int = 10_000, masks: bool = False) -> float:
    """Mean return of one whole episode of each of `episodes` environments, with seeds from `seed` on."""
    running = [gymnasium.make(environment) for _ in range(episodes)]
    starts = [each.reset(seed=seed + number) for number, each in enumerate(running)]
    observed, allowed = [each for each, _ in starts], [info.get("action_mask") for _, info in starts]
    total = 0.0
    while running:
        left, seen, following = [], [], []
        legal = np.asarray(allowed, bool) if masks else None
        for each, action in zip(running, act(np.asarray(observed), legal), strict=True):
            observation, reward, terminated, truncated, info = each.step(int(action))
            total += float(reward)
            if terminated or truncated:
                each.close()
            else:
                left.append(each)
                seen.append(observation)
                following.append(info.get("action_mask"))
        running, observed, allowed = left, seen, following
    return total / episodes


class Looks:
    """Looks at a policy every so many environment steps until it is solved, with a clock that stands still meanwhile."""

    def __init__(self, environment: str, threshold: float, every: int, last: int = 100, masks: bool = False) -> None:
        self.environment, self.threshold, self.every, self.last = environment, threshold, every, last
        self.masks = masks
        self.looked = 0
        self.solved: int | None = None
        self.seconds_to_solved: float | None = None
        self.away = 0.0
        self.start = time.process_time()

    def seconds(self) -> float:
        """CPU seconds since the start, looks not counted."""
        return time.process_time() - self.start - self.away

    def look(self, steps: int, act: Act) -> None:
        """After `steps` environment steps; does nothing where it is not time yet, or where the task is solved."""
        if self.solved is None and steps // self.every > self.looked:
            self.looked = steps // self.every
            seconds, begun = self.seconds(), time.process_time()
            if greedy_return(self.environment, act, masks=self.masks) >= self.threshold:
                self.solved, self.seconds_to_solved = steps, seconds
            self.away += time.process_time() - begun

    def result(self, steps: int, act: Act) -> Run:
        """At the end of training: a last look, of `last` episodes."""
        self.look(steps, act)
        seconds = self.seconds()
        final = greedy_return(self.environment, act, self.last, masks=self.masks)
        return Run(self.solved, self.seconds_to_solved, final, seconds, steps)


def median_solved(runs: list[Run]) -> float:
    """Median of the steps until solved; infinite where a run never was."""
    return statistics.median(float("inf") if each.solved is None else each.solved for each in runs)
