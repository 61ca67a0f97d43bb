"""GradientSearch: the optimum by every estimator and goal, with every evaluation counted."""

import pytest

from discrete_lightning.design import (
    DesignProblem,
    FromNothing,
    GradientSearch,
    Minimize,
    Polish,
    Target,
)
from discrete_lightning.design.oracles import BlackBox, TFBind8
from discrete_lightning.estimators import Estimator, GumbelSoftmax, LeaveOneOut, ReinMax, StraightThroughGumbel
from tests.design.enumeration import best_of
from tests.design.runs import BEST
from tests.design.toy_oracles import Linear, Pairs


@pytest.mark.parametrize("seed", range(10))
def test_tfbind8_optimum_within_2000_calls(seed: int) -> None:
    """Many short chains of StraightThrough, all polished."""
    polish = Polish(proposals=8, patience=2, sequences=32)
    search = GradientSearch(chains=32, steps=10, learning_rate=1.0, polish=polish)
    search.begin(DesignProblem(TFBind8(), FromNothing(8)), seed)
    search.run(until=lambda now: now.best_score >= BEST - 1e-6)
    assert search.progress().best_score == pytest.approx(BEST)
    assert search.progress().calls <= 2000


def test_the_best_is_never_lost_and_calls_are_exact() -> None:
    oracle = Linear(30)
    search = GradientSearch(chains=8, steps=15).begin(DesignProblem(oracle, FromNothing(30)), seed=0)
    search.run()
    assert search.problem.evaluator.count == oracle.rows == search.progress().calls
    assert search.progress().best_score == pytest.approx(float(oracle.weight.amax(0).sum().detach()))
    best = [each.best_total for each in search.trajectory]
    assert best == sorted(best, reverse=True)
    design = search.designs(1)[0]
    x = search.problem.one_hot(search.problem.alphabet.encode(design.sequence))[None].mT
    assert design.score == pytest.approx(float(oracle(x).detach()), abs=1e-5)


@pytest.mark.parametrize(
    "estimator",
    [StraightThroughGumbel(), ReinMax(), GumbelSoftmax(), LeaveOneOut(4)],
    ids=lambda each: type(each).__name__,
)
def test_estimators(estimator: Estimator) -> None:
    oracle = Linear(10)
    search = GradientSearch(chains=8, steps=30, estimator=estimator, learning_rate=0.5, polish=Polish(sequences=2))
    search.begin(DesignProblem(oracle, FromNothing(10)), seed=0)
    search.run()
    assert search.problem.evaluator.count == oracle.rows
    assert search.progress().best_score == pytest.approx(float(oracle.weight.amax(0).sum().detach()), abs=1e-4)


def test_black_box_refuses_relaxed_samples() -> None:
    search = GradientSearch(chains=2, steps=2, estimator=GumbelSoftmax())
    search.begin(DesignProblem(BlackBox(lambda s: [0.0] * len(s)), FromNothing(5)), seed=0)
    with pytest.raises(ValueError, match="not one-hot"):
        search.run()


def test_an_oracle_without_gradient_needs_an_estimator_that_needs_none() -> None:
    for steps in (3, 0):
        search = GradientSearch(4, steps).begin(DesignProblem(Pairs(hard=True), FromNothing(6)), 0)
        with pytest.raises(ValueError, match="Pairs has no gradient"):
            search.run()
    problem = DesignProblem(Pairs(hard=True), FromNothing(6))
    search = GradientSearch(8, 30, LeaveOneOut(4), learning_rate=0.5).begin(problem, 0)
    search.run()
    assert search.progress().best_total == pytest.approx(best_of(problem), abs=0.5)


def test_goals() -> None:
    for goal, expected in ((Minimize(), -0.47907), (Target(0.2), 0.2)):
        search = GradientSearch(chains=8, steps=20, learning_rate=1.0).begin(
            DesignProblem(TFBind8(), FromNothing(8), goal=goal), 0
        )
        search.run()
        assert search.designs(1)[0].score == pytest.approx(expected, abs=2e-3)
