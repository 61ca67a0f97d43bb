"""The base of the searches for words: a budget of evaluations, and the best line so far."""

from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.text.word_search.problem import Evaluated, WordProblem


class OutOfEvaluations(Exception):
    """The budget of a search is used up."""


@dataclass(frozen=True)
class Found:
    """What a search has found.

    Attributes:
        tokens: of the best line, int64 (T,).
        nll: of the line, in nats.
        history: (evaluations, nll of the best line so far), a pair for each better line.
        evaluations: used by the search; never more than it was given.
    """

    tokens: Tensor
    nll: float
    history: list[tuple[int, float]]
    evaluations: int


class Budget:
    """A problem and the evaluations that are left of it; keeps the best line of all that were judged.

    A pass that needs more than what is left is cut to the lines that can be paid for, and the next one raises OutOfEvaluations.
    """

    def __init__(self, problem: WordProblem, evaluations: int) -> None:
        self.problem, self.limit, self.begun = problem, evaluations, problem.evaluations
        self.history: list[tuple[int, float]] = []
        self.words: Tensor | None = None
        self.nll = float("inf")

    @property
    def used(self) -> int:
        """Evaluations so far."""
        return self.problem.evaluations - self.begun

    @property
    def left(self) -> int:
        """Evaluations that are left."""
        return self.limit - self.used

    @property
    def spent(self) -> float:
        """The share of the budget that is used, in [0, 1]."""
        return self.used / self.limit

    def require(self, evaluations: int) -> None:
        """Raises OutOfEvaluations unless that many are left."""
        if self.left < evaluations:
            raise OutOfEvaluations

    def evaluate(self, words: Tensor, gradient: bool = False) -> Evaluated:
        """`WordProblem.evaluate` of as many of the lines (N, F) as can be paid for, at least one."""
        price = 2 if gradient else 1
        self.require(price)
        words = words[: self.left // price]
        found = self.problem.evaluate(words, gradient)
        self.keep(words, found.nll)
        return found

    def keep(self, words: Tensor, nll: Tensor) -> None:
        """Keeps the best of lines (N, F) that were judged, with nll (N,), if it is better than the best so far."""
        best = int(nll.argmin())
        if float(nll[best]) < self.nll:
            self.nll, self.words = float(nll[best]), words[best].clone()
            self.history.append((self.used, self.nll))

    def draw(self, count: int, temperature: float, generator: torch.Generator | None) -> Tensor:
        """`WordProblem.draw` of as many lines as can be paid for and judged afterwards, at least one."""
        price = len(self.problem.positions)  # F - 1 steps, and one evaluation
        self.require(price)
        return self.problem.draw(min(count, self.left // price), temperature, generator)


class WordSearch(ABC):
    """Base of the searches: frozen dataclasses that go on until their evaluations are used up."""

    @property
    def name(self) -> str:
        """What tables and pictures call it."""
        return type(self).__name__

    def run(self, problem: WordProblem, evaluations: int, generator: torch.Generator | None = None) -> Found:
        """Looks for the free words with the lowest nll of the line.

        Args:
            problem: the line and its judge.
            evaluations: that the search may use; see `WordProblem`.
            generator: source of randomness, on the device of the network.

        Raises:
            ValueError: if there are fewer evaluations than one line takes.
        """
        least = len(problem.positions) + 1
        if evaluations < least:
            raise ValueError(
                f"a line of {len(problem.positions)} free words takes {least} evaluations to draw and judge, got {evaluations}"
            )
        budget = Budget(problem, evaluations)
        with suppress(OutOfEvaluations):
            self.search(budget, generator)
        assert budget.words is not None
        return Found(problem.lines(budget.words[None])[0], budget.nll, budget.history, budget.used)

    @abstractmethod
    def search(self, budget: Budget, generator: torch.Generator | None) -> None:
        """Judges lines through `budget` until it raises OutOfEvaluations."""
