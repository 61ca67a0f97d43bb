import copy
import pickle
from typing import Any

import pytest

from discrete_lightning.distributed import rank
from discrete_lightning.metrics import CopiedRuns
from discrete_lightning.text.metrics import copied_runs
from tests.ranks import run_on_ranks
from tests.text.metrics.lines import over_ranks, random_lines, runs

CORPUS = random_lines(60, seed=4)
LINES = [random_lines(20, seed=5), [], random_lines(9, seed=6)]


@pytest.mark.parametrize("n", [1, 3, 5])
def test_share_of_runs_that_stand_in_the_corpus(n: int) -> None:
    lines = [line for batch in LINES for line in batch]
    known = set(runs(CORPUS, n))
    found = [run in known for run in runs(lines, n)]
    assert sum(found) > 0
    assert copied_runs(lines, CORPUS, n) == sum(found) / len(found)
    metric = CopiedRuns(CORPUS, n)
    for batch in LINES:
        metric.update(batch)
    assert metric.compute().item() == pytest.approx(sum(found) / len(found), abs=1e-6)


def test_by_hand() -> None:
    assert copied_runs(["the sea and the shore"], "And the sea, and the sea!", n=2) == 3 / 4
    # runs of a text go over line ends, those of lines do not
    assert copied_runs(["the sea and"], "the sea\nand", n=3) == 1
    assert copied_runs(["the sea and"], ["the sea", "and", "not this one"], n=3) == 0
    assert copied_runs(["sea and"], "the sea and", n=3) == 0
    assert copied_runs([CORPUS[0]], CORPUS, n=1) == 1


def test_copies() -> None:
    metric = CopiedRuns(CORPUS, 2)
    metric.update(LINES[0])
    for twin in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        twin.update(LINES[2])
        assert twin.runs > metric.runs
    metric.reset()
    metric.update(LINES[2])
    assert metric.compute().item() == pytest.approx(copied_runs(LINES[2], CORPUS, 2), abs=1e-6)


def on_a_rank() -> Any:
    return over_ranks(CopiedRuns(CORPUS, 2), LINES[:1] if rank() == 0 else LINES[1:])


def test_two_ranks_are_one_process() -> None:
    expected = copied_runs([*LINES[0], *LINES[2]], CORPUS, 2)
    assert [found.item() for found in run_on_ranks(on_a_rank)] == pytest.approx([expected] * 2, abs=1e-6)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="the corpus has no run of 4 words: 1 lines, 3 words"):
        CopiedRuns("the sea and", 4)
    with pytest.raises(ValueError, match="n >= 1 words, got n=0"):
        CopiedRuns(CORPUS, 0)
    with pytest.raises(ValueError, match="got one string"):
        copied_runs("the sea", CORPUS)
