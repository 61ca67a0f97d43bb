"""Self-BLEU against its definition, line by line, and against nltk where that is installed."""

import math
from collections import Counter
from typing import Any

import pytest

from discrete_lightning.distributed import rank
from discrete_lightning.metrics import SelfBLEU
from discrete_lightning.text.metrics import self_bleu
from tests.ranks import run_on_ranks
from tests.text.metrics.lines import over_ranks, random_lines, runs

LINES = [*random_lines(25, seed=7, longest=12), ["the"], ["sea", "sea", "sea", "sea", "sea"], ["unseen", "unheard"]]


def bleu(line: list[str], others: list[list[str]], n: int) -> float:
    if not line:
        return 0.0
    total = 0.0
    for k in range(1, n + 1):
        mine = Counter(runs([line], k))
        theirs = [Counter(runs([other], k)) for other in others]
        matched = sum(min(count, max(each[run] for each in theirs)) for run, count in mine.items())
        if k == 1 and not matched:
            return 0.0
        total += math.log((matched or 0.1) / max(1, sum(mine.values())))
    nearest = min((abs(len(other) - len(line)), len(other)) for other in others)[1]
    return math.exp(total / n) * min(1.0, math.exp(1 - nearest / len(line)))


def naive(lines: list[list[str]], n: int) -> float:
    return sum(bleu(line, lines[:i] + lines[i + 1 :], n) for i, line in enumerate(lines)) / len(lines)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_equals_its_definition(n: int) -> None:
    expected = naive(LINES, n)
    assert 0.1 < expected < 0.9
    assert self_bleu(LINES, n) == pytest.approx(expected, rel=1e-9)
    assert self_bleu([["a", "b", "c"], ["a", "b", "d", "e"]], n) == pytest.approx(
        naive([["a", "b", "c"], ["a", "b", "d", "e"]], n), rel=1e-9
    )


def test_equals_nltk() -> None:
    nltk = pytest.importorskip("nltk.translate.bleu_score", reason="nltk is not installed")
    lines = [line for line in LINES if line]  # nltk gives an empty line no length to compare
    smoothing = nltk.SmoothingFunction().method1
    for n in (2, 3, 4):
        weights = [1 / n] * n
        each = [
            nltk.sentence_bleu(lines[:i] + lines[i + 1 :], line, weights, smoothing_function=smoothing)
            for i, line in enumerate(lines)
        ]
        assert self_bleu(lines, n) == pytest.approx(sum(each) / len(each), rel=1e-9)


def test_by_hand() -> None:
    assert self_bleu(["a b c d"] * 3) == pytest.approx(1)
    assert self_bleu(["a b c d", "e f g h"]) == 0
    # p1 = 2/3, p2 = 1/2 for the first; 2/2, 1/1 and exp(1 - 3/2) for the second
    expected = (math.sqrt(2 / 3 * 1 / 2) + math.exp(-0.5)) / 2
    assert self_bleu(["a b c", "a b"], 2) == pytest.approx(expected)


def test_the_metric_over_updates() -> None:
    metric = SelfBLEU(3)
    for part in (LINES[:9], [], LINES[9:]):
        metric.update(part)
    assert metric.compute().item() == pytest.approx(naive(LINES, 3), abs=1e-6)
    metric.reset()
    metric.update(LINES[:5])
    assert metric.compute().item() == pytest.approx(naive(LINES[:5], 3), abs=1e-6)


def on_a_rank() -> Any:
    return over_ranks(SelfBLEU(2), [LINES[:20]] if rank() == 0 else [LINES[20:24], LINES[24:]])


def test_two_ranks_are_one_process() -> None:
    assert [found.item() for found in run_on_ranks(on_a_rank)] == pytest.approx([naive(LINES, 2)] * 2, abs=1e-6)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="two or more lines, got 1"):
        self_bleu(["a b"])
    with pytest.raises(ValueError, match="n >= 1 words, got n=0"):
        self_bleu(["a", "b"], 0)
    metric = SelfBLEU()
    metric.update(["a b"])
    with pytest.raises(ValueError, match="two or more lines, got 1"):
        metric.compute()
