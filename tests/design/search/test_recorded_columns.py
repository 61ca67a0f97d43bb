"""Designs have the columns of their own evaluation, also if the oracle was called again later."""

import torch

from discrete_lightning.design import DesignProblem, FromNothing, GradientSearch, Polish, Search, SurrogateSearch
from discrete_lightning.design.oracles import MotifScan, WeightedSum
from discrete_lightning.design.search.polish import Polisher
from discrete_lightning.estimators import GumbelSoftmax


def problem() -> DesignProblem:
    oracle = WeightedSum([MotifScan("GATA2"), MotifScan("JUN")], [1.0, -0.5], names=["gata2", "jun"])
    return DesignProblem(oracle, FromNothing(20))


def columns_are_right(search: Search) -> None:
    designs = [*search.designs(50), *search.pareto_designs()]
    assert designs
    tokens = search.problem.alphabet.encode_all([design.sequence for design in designs])
    expected = search.problem.evaluator.oracle.components(search.problem.one_hot(tokens).mT)  # type: ignore[operator]
    found = torch.tensor([[design.more["gata2"], design.more["jun"]] for design in designs])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_call_of_the_oracle_between_an_evaluation_and_its_record() -> None:
    search = SurrogateSearch(calls=60).begin(problem(), seed=0)
    first, second = torch.randint(4, (2, 1, 20), generator=torch.Generator().manual_seed(0))
    evaluation = search.problem.evaluate(first)
    search.problem.score(second)
    search.record(first, evaluation)
    columns_are_right(search)


def test_columns_of_relaxed_samples_and_of_the_polish() -> None:
    polish = Polish(sequences=3, calls=60, restarts=2)
    search = GradientSearch(chains=6, steps=5, estimator=GumbelSoftmax(), polish=polish).begin(problem(), seed=0)
    search.run()
    columns_are_right(search)


def test_a_round_of_the_polish_returns_what_it_evaluated() -> None:
    own = problem()
    polisher = Polisher(Polish(proposals=4), own)
    tokens = torch.randint(4, (2, 20), generator=torch.Generator().manual_seed(0))
    begun = polisher.begin(tokens)
    assert torch.equal(begun.tokens, tokens)
    evaluated = polisher.round()
    assert evaluated is not None
    for each in (begun, evaluated):
        assert torch.equal(each.evaluation.scores, own.score(each.tokens))
        assert each.beams.unique().tolist() == [0, 1]
