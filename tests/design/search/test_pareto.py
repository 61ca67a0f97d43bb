"""The Pareto front in the directions of goal and weights, against enumeration; its columns and its errors."""

import pytest
import torch

from discrete_lightning.design import (
    DesignProblem,
    FromNothing,
    Goal,
    Maximize,
    Minimize,
    NoFront,
    SurrogateSearch,
    Target,
    non_dominated,
)
from discrete_lightning.design.constraints import MaxHomopolymer
from discrete_lightning.design.oracles import Ensemble, WeightedSum
from tests.design.toy_oracles import Pairs


def searched(weights: tuple[float, float], goal: Goal) -> SurrogateSearch:
    """A search that has to score all 256 sequences."""
    oracle = WeightedSum([Pairs(seed=0), Pairs(seed=1)], weights, names=["a", "b"])
    search = SurrogateSearch(calls=256, batch=64, first=64).begin(
        DesignProblem(oracle, FromNothing(4), goal=goal), seed=0
    )
    search.run()
    assert search.problem.evaluator.count == 256
    return search


@pytest.mark.parametrize(
    ("weights", "goal", "directions"),
    [
        ((1.0, -1.0), Maximize(), (1.0, -1.0)),
        ((1.0, 1.0), Minimize(), (-1.0, -1.0)),
        ((1.0, -2.0), Minimize(), (-1.0, 1.0)),
    ],
)
def test_front_of_everything_that_was_scored(
    weights: tuple[float, float], goal: Goal, directions: tuple[float, float]
) -> None:
    search = searched(weights, goal)
    tokens = torch.cartesian_prod(*[torch.arange(4)] * 4)
    oracle = search.problem.evaluator.oracle
    values = oracle.components(search.problem.one_hot(tokens).mT) * torch.tensor(directions)
    expected = {search.problem.alphabet.decode(row) for row in tokens[non_dominated(values)]}
    front = search.pareto_designs()
    assert {design.sequence for design in front} == expected
    assert front[0].more["a"] * directions[0] == pytest.approx(float(values[:, 0].max()), abs=1e-5)
    best = search.designs(1)[0]
    assert best.sequence in expected  # the best of a weighted sum lies on the front
    for design in front:
        assert design.score == pytest.approx(weights[0] * design.more["a"] + weights[1] * design.more["b"], abs=1e-5)
        assert 0 < design.calls <= 256


def test_non_dominated_against_its_definition() -> None:
    values = torch.randint(6, (60, 3), generator=torch.Generator().manual_seed(0)).float()
    expected = [not any(bool((b >= a).all() and (b > a).any()) for b in values) for a in values]
    assert non_dominated(values).tolist() == expected


def test_a_target_gives_no_oracle_a_direction() -> None:
    search = searched((1.0, 1.0), Target(0.5))
    assert search.designs(1)[0].score == pytest.approx(0.5, abs=0.2)
    with pytest.raises(NoFront, match="does not say whether a higher or a lower score of a, b is better"):
        search.pareto_designs()


def test_a_front_comes_back_from_its_state() -> None:
    search = searched((1.0, -1.0), Maximize())
    oracle = WeightedSum([Pairs(seed=0), Pairs(seed=1)], [1.0, -1.0], names=["a", "b"])
    again = SurrogateSearch(calls=256, batch=64, first=64).begin(DesignProblem(oracle, FromNothing(4)), seed=1)
    again.load_state_dict(search.state_dict())
    assert again.pareto_designs() == search.pareto_designs()
    assert again.designs(9) == search.designs(9)
    assert again.trajectory == search.trajectory


def test_uncertainty_makes_a_design_on_the_front_worse() -> None:
    sure, unsure = Ensemble([Pairs(seed=0), Pairs(seed=0)]), Ensemble([Pairs(seed=1), Pairs(seed=2)], pessimism=2.0)
    oracle = WeightedSum([sure, unsure], [1.0, -1.0], names=["sure", "unsure"])
    columns = torch.tensor([[1.0, 0.5, 3.0, 0.25]])
    assert oracle.names == ["sure_mean", "sure_deviation", "unsure_mean", "unsure_deviation"]
    assert oracle.signs == [1.0, 0.0, -1.0, -0.0]
    assert oracle.objectives(columns).tolist() == [[1.0 - 0.5, -3.0 - 0.5]]
    assert oracle.objectives(columns, -1.0).tolist() == [[-1.0 - 0.5, 3.0 - 0.5]]


@pytest.mark.parametrize("name", ["sequence", "score", "judge", "MaxHomopolymer"])
def test_names_of_other_columns_are_refused(name: str) -> None:
    oracle = WeightedSum([Pairs(), Pairs()], [1.0, 1.0], names=[name, "b"])
    problem = DesignProblem(oracle, FromNothing(4), constraints=[MaxHomopolymer(3)])
    with pytest.raises(ValueError, match=rf"columns are named \['{name}'\].*choose other names"):
        SurrogateSearch().begin(problem)
