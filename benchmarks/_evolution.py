"""The black-box baselines: ageing evolution without repeats, and a genetic algorithm. Neither evaluates a sequence twice."""

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int64]
Score = Callable[[Tokens], float]


class Counted:
    """A score that counts its calls, remembers the best so far after each, and knows what it has seen."""

    def __init__(self, score: Score, budget: int, enough: float = np.inf) -> None:
        self.score, self.budget, self.enough = score, budget, enough
        self.seen: set[bytes] = set()
        self.best: list[float] = []

    @property
    def done(self) -> bool:
        return len(self.best) >= self.budget or (bool(self.best) and self.best[-1] >= self.enough)

    def __call__(self, tokens: Tokens) -> float:
        value = self.score(tokens)
        self.seen.add(tokens.tobytes())
        self.best.append(max(value, self.best[-1]) if self.best else value)
        return value

    def is_new(self, tokens: Tokens) -> bool:
        return tokens.tobytes() not in self.seen


def ageing(
    score: Counted, length: int, letters: int, rng: np.random.Generator, population: int = 100, sample: int = 10
) -> None:
    """Regularised evolution (Real et al. 2019, https://arxiv.org/abs/1802.01548): mutate a sample's best, drop the oldest."""
    living: deque[tuple[Tokens, float]] = deque()
    while len(living) < population and not score.done:
        tokens = rng.integers(0, letters, length)
        if score.is_new(tokens):
            living.append((tokens, score(tokens)))
    while not score.done:
        chosen = [living[i] for i in rng.choice(len(living), sample, replace=False)]
        child = max(chosen, key=lambda each: each[1])[0]
        while not score.is_new(child):  # what was seen is mutated on
            child = _mutated(child, letters, rng)
        living.append((child, score(child)))
        living.popleft()


def genetic(
    score: Counted, first: list[Tokens], letters: int, rng: np.random.Generator, parents: int = 50, children: int = 50
) -> None:
    """(50 + 50): tournaments of two, uniform crossover, letters mutated with chance 1 / length, the best 50 of both live."""
    living = [(tokens, score(tokens)) for tokens in first]
    while not score.done:
        born: list[tuple[Tokens, float]] = []
        while len(born) < children and not score.done:
            mother, father = _winner(living, rng), _winner(living, rng)
            child = np.where(rng.random(len(mother)) < 0.5, mother, father)
            mutated = rng.random(len(child)) < 1 / len(child)
            child = np.where(mutated, (child + rng.integers(1, letters, len(child))) % letters, child)
            while not score.is_new(child):
                child = _mutated(child, letters, rng)
            born.append((child, score(child)))
        living = sorted(living + born, key=lambda each: -each[1])[:parents]


def _winner(living: list[tuple[Tokens, float]], rng: np.random.Generator) -> Tokens:
    one, two = rng.integers(0, len(living), 2)
    return living[one][0] if living[one][1] > living[two][1] else living[two][0]


def _mutated(tokens: Tokens, letters: int, rng: np.random.Generator) -> Tokens:
    tokens = tokens.copy()
    place = rng.integers(len(tokens))
    tokens[place] = (tokens[place] + rng.integers(1, letters)) % letters
    return tokens
