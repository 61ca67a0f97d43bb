import copy
import pickle
from typing import Any

import pytest
import torch

from discrete_lightning.distributed import rank
from discrete_lightning.metrics import DistinctLines, DistinctN
from discrete_lightning.text.metrics import distinct_lines, distinct_n
from tests.ranks import run_on_ranks
from tests.text.metrics.lines import over_ranks, random_lines, runs

BATCHES = [random_lines(30, seed=1), random_lines(7, seed=2), [], random_lines(40, seed=3)]
ALL = [line for batch in BATCHES for line in batch]


@pytest.mark.parametrize("n", [1, 2, 3, 9])
def test_distinct_n(n: int) -> None:
    expected = len(set(runs(ALL, n))) / len(runs(ALL, n))
    assert 0 < expected <= 1
    assert distinct_n(ALL, n) == expected
    metric = DistinctN(n)
    for batch in BATCHES:
        metric.update(batch)
    assert metric.compute().item() == pytest.approx(expected, abs=1e-6)


def test_by_hand() -> None:
    assert distinct_n(["a b a b", "b a"], 2) == 2 / 4
    assert distinct_n(["a", ""], 2) == 0
    assert distinct_n([], 1) == 0
    assert distinct_n(["a b c"], 2) == 1
    assert distinct_lines([["a", "b"], "A b!", "c", "c d"]) == 3 / 4
    assert distinct_lines([]) == 0


def test_distinct_lines() -> None:
    expected = len(set(map(tuple, ALL))) / len(ALL)
    assert expected < 1
    assert distinct_lines(ALL) == expected
    metric = DistinctLines()
    for batch in BATCHES:
        metric.update(batch)
    assert metric.compute().item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("metric", [DistinctN(), DistinctLines()], ids=["DistinctN", "DistinctLines"])
def test_resets_copies_and_inference_mode(metric: Any) -> None:
    metric.update(BATCHES[0])
    for twin in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        twin.update(BATCHES[0])
        assert 0 < twin.compute() < metric.compute()
    metric.reset()
    with torch.inference_mode():
        metric.update(BATCHES[1])
    metric.update(BATCHES[3])
    both = BATCHES[1] + BATCHES[3]
    expected = distinct_n(both) if isinstance(metric, DistinctN) else distinct_lines(both)
    assert metric.compute().item() == pytest.approx(expected, abs=1e-6)
    metric.reset()
    metric.update([])
    assert metric.compute() == 0


def on_a_rank(only_first: bool) -> list[Any]:
    """Rank 1 has more lines, or has not been updated at all."""
    batches = BATCHES[:1] if rank() == 0 else [] if only_first else BATCHES[1:]
    return [over_ranks(metric, batches) for metric in (DistinctN(2), DistinctLines())]


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric:UserWarning")
@pytest.mark.parametrize("only_first", [False, True])
def test_two_ranks_are_one_process(only_first: bool) -> None:
    lines = BATCHES[0] if only_first else ALL
    for found in run_on_ranks(on_a_rank, only_first):
        assert [each.item() for each in found] == pytest.approx([distinct_n(lines), distinct_lines(lines)], abs=1e-6)


def test_bad_input() -> None:
    for call in (lambda: distinct_n(["a"], 0), lambda: DistinctN(0)):
        with pytest.raises(ValueError, match="n >= 1 words, got n=0"):
            call()
    for function in (distinct_n, distinct_lines, DistinctN().update, DistinctLines().update):
        with pytest.raises(ValueError, match="got one string"):
            function("to be or not to be")
