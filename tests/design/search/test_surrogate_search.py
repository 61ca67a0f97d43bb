"""SurrogateSearch never evaluates a sequence twice, and ends when there is no new one."""

from discrete_lightning.design import (
    DesignProblem,
    FromNothing,
    SurrogateSearch,
)
from discrete_lightning.design.oracles import BlackBox


def test_surrogate_search_beats_random_and_never_repeats() -> None:
    oracle = BlackBox(lambda sequences: [sum(a == b for a, b in zip(s, "GATTACAG", strict=True)) for s in sequences])
    search = SurrogateSearch(calls=150, batch=10, first=20).begin(DesignProblem(oracle, FromNothing(8)), seed=0)
    search.run()
    assert search.designs(1)[0].sequence == "GATTACAG"
    assert len(search.evaluated.unique(dim=0)) == len(search.evaluated) == search.problem.evaluator.count == 150


def test_surrogate_search_ends_when_everything_is_known() -> None:
    oracle = BlackBox(lambda sequences: [float(len(set(sequence))) for sequence in sequences])
    search = SurrogateSearch(calls=500, first=10).begin(DesignProblem(oracle, FromNothing(3)), seed=0)
    search.run()
    assert search.done
    assert search.problem.evaluator.count <= 64
    assert search.progress().best_score == 3
