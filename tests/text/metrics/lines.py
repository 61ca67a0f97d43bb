"""Lines of a small vocabulary, and naive counts of their runs."""

import random
from typing import Any

WORDS = ["the", "sea", "o'er", "shore", "doth", "sleep", "and", "Rose", "stand-still"]


def random_lines(count: int, seed: int, longest: int = 9) -> list[list[str]]:
    """Uneven lines, some of them empty, some equal."""
    choice = random.Random(seed)
    return [choice.choices(WORDS[: choice.randint(2, 9)], k=choice.randint(0, longest)) for _ in range(count)]


def runs(lines: list[list[str]], n: int) -> list[tuple[str, ...]]:
    return [tuple(line[i : i + n]) for line in lines for i in range(len(line)) if len(line[i : i + n]) == n]


def over_ranks(metric: Any, lines: list[list[list[str]]]) -> Any:
    """The metric after the batches of this rank, computed twice to see that the state is left alone."""
    for batch in lines:
        metric.update(batch)
    first = metric.compute()
    metric._computed = None
    assert metric.compute() == first
    return first
