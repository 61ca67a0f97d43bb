"""Trajectory: the curve of the best total over the calls, and the number that stands for it."""

import math

import pytest
import torch

from discrete_lightning.design import DesignProblem, Edit, FromNothing, GradientSearch, Progress
from discrete_lightning.design.oracles import TFBind8
from discrete_lightning.design.search.trajectory import Trajectory


def curve(*points: tuple[int, float]) -> Trajectory:
    return Trajectory(Progress(i, calls, total, -total, -total, "A") for i, (calls, total) in enumerate(points))


def test_best_after() -> None:
    best = curve((10, 3.0), (20, 2.0), (40, 0.5)).best_after
    assert math.isnan(best(9))
    assert [best(calls) for calls in (10, 19, 20, 39, 40, 1000)] == [3.0, 3.0, 2.0, 2.0, 0.5, 0.5]
    assert math.isnan(curve().best_after(5))


def test_anytime_total_is_the_mean_over_the_logarithm_of_the_calls() -> None:
    generator = torch.Generator().manual_seed(0)
    calls = torch.randint(1, 50, (30,), generator=generator).cumsum(0)
    totals = torch.rand(30, generator=generator).sort(descending=True).values
    found = curve(*zip(calls.tolist(), totals.tolist(), strict=True))
    start, end = max(int(calls[0]), int(calls[-1]) / 100), int(calls[-1])
    # the naive mean over a fine grid of logarithms
    grid = torch.linspace(math.log(start), math.log(end), 200_001, dtype=torch.float64).exp()
    naive = sum(found.best_after(float(each)) for each in grid[::100]) / len(grid[::100])
    assert found.anytime_total() == pytest.approx(naive, abs=2e-3)


def test_anytime_total_of_short_curves() -> None:
    assert math.isnan(curve().anytime_total())
    assert math.isnan(curve((5, math.nan)).anytime_total())
    assert curve((5, 2.0)).anytime_total() == 2.0
    assert curve((5, math.nan), (50, 2.0), (500, 1.0)).anytime_total() == pytest.approx(2.0)
    assert curve((1, 9.0), (100, 2.0), (10_000, 1.0)).anytime_total() == pytest.approx(2.0)  # from N / 100 on


def test_an_interrupted_search_returns_the_best_so_far() -> None:
    """Ctrl-C in the oracle: the designs are those until then, and the search can go on."""
    oracle = TFBind8()
    search = GradientSearch(calls=300).begin(DesignProblem(oracle, Edit("ACGTACGT", 0.01)), seed=0)

    def interrupt(now: Progress) -> bool:
        if now.calls > 100:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        search.run(until=interrupt)
    assert 100 < search.problem.evaluator.count < 130
    assert search.designs(1)[0].total == pytest.approx(search.trajectory[-1].best_total)
    search.run()
    assert search.progress().calls == 300


def test_a_search_that_was_stopped_goes_on_as_one_that_was_not() -> None:
    """Also among the steps of the chains, whose optimiser has a state of its own."""

    def run(stops: list[int]) -> list[str]:
        search = GradientSearch(calls=300).begin(DesignProblem(TFBind8(), FromNothing(8)), seed=0)
        for stop in stops:
            search.run(until=lambda now, stop=stop: now.calls >= stop)  # type: ignore[misc]
            assert stop <= search.progress().calls < 300
        search.run()
        return [each.sequence for each in search.trajectory]

    assert run([20, 50, 200]) == run([])
