"""ParetoSearch finds the front that enumeration finds, spends its calls to the one, resumes, and keeps rules."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.design import (
    DesignProblem,
    Edit,
    Evaluator,
    FromNothing,
    FromSequences,
    Goal,
    GradientSearch,
    Maximize,
    Minimize,
    NoFront,
    ParetoSearch,
    Polish,
    Start,
    Target,
    hypervolume,
    non_dominated,
)
from discrete_lightning.design.constraints import AllowedLetters, FixedPositions, ForbiddenMotifs, GCContent
from discrete_lightning.design.oracles import BlackBox, Ensemble, TFBind8, WeightedSum
from tests.design.enumeration import every
from tests.design.toy_oracles import Linear, Pairs

RULES = [FixedPositions({1: "G"}), AllowedLetters({3: "AT"}), ForbiddenMotifs(["AGC", "TG"])]


def summed(*weights: float, length: int = 6) -> WeightedSum:
    names = ["a", "b", "c", "d"][: len(weights)]
    makes = [Pairs(seed=0), Pairs(seed=1), Linear(length, seed=2), Pairs(seed=3)]
    return WeightedSum(makes[: len(weights)], weights, names=names)


@pytest.mark.parametrize(
    ("weights", "goal", "rules", "share"),
    [
        ((1.0, 1.0), Maximize(), [], 0.99),
        ((1.0, -2.0), Maximize(), RULES, 0.999),
        ((3.0, -1.0), Minimize(), [], 0.99),
        ((1.0, -1.0, 0.5), Maximize(), [], 0.95),
        ((1.0, -1.0, 0.5), Minimize(), RULES, 0.999),
        ((1.0, 1.0, 1.0, -1.0), Maximize(), RULES, 0.99),
    ],
)
def test_the_front_of_all_sequences(weights: tuple[float, ...], goal: Goal, rules: list[object], share: float) -> None:
    """At least this share of the hypervolume of all 4,096 sequences, in 600 evaluations; every design keeps the rules."""
    problem = DesignProblem(summed(*weights), FromNothing(6), goal=goal, constraints=rules)  # type: ignore[arg-type]
    search = ParetoSearch(calls=600).begin(problem, seed=0)
    search.run()
    tokens = every(6)
    tokens = tokens[problem.feasible(tokens)]
    oracle = problem.evaluator.oracle
    assert isinstance(oracle, WeightedSum)
    with torch.no_grad():
        values = oracle.objectives(oracle.components(problem.one_hot(tokens).mT), goal.sign)
    best = hypervolume(values[non_dominated(values)], search.front.reference)
    assert share * best <= search.hypervolume() <= best * (1 + 1e-5)
    designs = search.pareto_designs()
    assert len({design.sequence for design in designs}) == len(designs) > 1
    assert all(all(design.checks.values()) for design in designs)
    for design in designs:
        score = sum(w * design.more[name] for w, name in zip(weights, oracle.names, strict=True))
        assert design.score == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize("calls", [1, 2, 5, 17, 50, 211])
@pytest.mark.parametrize("start", [FromNothing(6), Edit("ACGTAC", 0.2), FromSequences(["AAAAAA", "CCCCCC"])])
def test_calls_are_counted_to_the_one(calls: int, start: Start) -> None:
    problem = DesignProblem(summed(1.0, -1.0), start)
    search = ParetoSearch(calls, directions=5).begin(problem, seed=0)
    search.run()
    assert search.progress().calls == calls
    assert search.pareto_designs()


def test_no_sequence_is_evaluated_again_in_the_local_search() -> None:
    seen: list[bytes] = []

    class Recorded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Pairs(seed=0)

        def forward(self, x: Tensor) -> Tensor:
            seen.extend(row.numpy().tobytes() for row in x.detach().argmax(1))
            scores: Tensor = self.inner(x)
            return scores

    oracle = WeightedSum([Recorded(), Pairs(seed=1)], [1.0, 1.0], names=["a", "b"])
    ParetoSearch(400, chains_share=0.0).begin(DesignProblem(oracle, FromNothing(8)), seed=0).run()
    again = len(seen) - len(set(seen))
    assert again <= 8  # the best of each direction, whose gradients were not kept


def test_ends_when_everything_is_known() -> None:
    search = ParetoSearch(500, chains_share=0.0).begin(
        DesignProblem(summed(1.0, 1.0, length=2), FromNothing(2)), seed=0
    )
    search.run()
    assert search.done
    assert search.progress().calls <= 24


@pytest.mark.parametrize("at", [1, 4, 20, 30])
def test_continues_to_the_bit(at: int) -> None:
    def fresh() -> ParetoSearch:
        problem = DesignProblem(
            summed(1.0, -1.0, 0.5, length=9), Edit("ACGTACGTA", 0.1), constraints=[GCContent(0.2, 0.7)]
        )
        return ParetoSearch(400, directions=6).begin(problem, seed=5)

    whole, half, rest = fresh(), fresh(), fresh()
    whole.run()
    optimizers = [search.optimizer() for search in (half, rest)]

    def run(search: ParetoSearch, optimizer: torch.optim.Optimizer, until: int) -> None:
        def optimize(loss: Tensor) -> None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        while not search.done and search.taken < until:
            search.advance(optimize)

    run(half, optimizers[0], at)
    rest.load_state_dict(copy.deepcopy(half.state_dict()))
    optimizers[1].load_state_dict(copy.deepcopy(optimizers[0].state_dict()))
    run(rest, optimizers[1], 10_000)
    assert rest.pareto_designs() == whole.pareto_designs()
    assert rest.designs(20) == whole.designs(20)
    assert rest.trajectory == whole.trajectory
    assert rest.hypervolume() == whole.hypervolume()


def test_a_seed_repeats_it() -> None:
    fronts = []
    for seed in (1, 1, 2):
        search = ParetoSearch(200).begin(DesignProblem(summed(1.0, 1.0, length=10), FromNothing(10)), seed)
        search.run()
        fronts.append(search.pareto_designs())
    assert fronts[0] == fronts[1] != fronts[2]


def test_better_than_one_weighting_at_equal_calls() -> None:
    """Long sequences, so that chance does not find the front: the mean of three seeds."""
    gains = []
    for seed in range(3):
        found = []
        for search in (
            ParetoSearch(400),
            GradientSearch(8, 25, learning_rate=0.3, polish=Polish(sequences=4, restarts=1000, calls=200)),
        ):
            problem = DesignProblem(summed(1.0, 1.0, length=40), FromNothing(40))
            search.begin(problem, seed).run()
            assert problem.evaluator.count == 400
            assert search.front is not None
            found.append(hypervolume(search.front.values, torch.zeros(2)))
        gains.append(found[0] / found[1])
    assert sum(gains) / 3 > 1.05


def test_an_edit_weight_keeps_edits_few() -> None:
    template = "ACGTACGTACGTACGTACGTACGT"
    edits = []
    for weight in (0.0, 2.0):
        problem = DesignProblem(summed(1.0, 1.0, length=24), Edit(template, weight))
        search = ParetoSearch(400, chains_share=0.0).begin(problem, seed=0)
        search.run()
        edits.append(sum(design.edits for design in search.designs(10)) / 10)
    assert edits[1] < edits[0] / 2


def test_infinitely_bad_sequences_are_not_on_the_front() -> None:
    class Sometimes(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            score = x[:, 0].sum(1)
            return torch.where(x[:, 1].sum(1) > 2, -math.inf, score)

    oracle = WeightedSum([Sometimes(), Linear(8)], [1.0, 1.0], names=["a", "b"])
    search = ParetoSearch(300).begin(DesignProblem(oracle, FromNothing(8)), seed=0)
    search.run()
    assert search.progress().calls == 300
    assert search.pareto_designs()
    assert all(
        math.isfinite(design.more["a"]) and design.sequence.count("C") <= 2 for design in search.pareto_designs()
    )


@pytest.mark.parametrize("goal", [Maximize(), Minimize()])
def test_gradients_of_each_objective(goal: Goal) -> None:
    unsure = Ensemble([Pairs(seed=1), Pairs(seed=2)], pessimism=2.0)
    oracle = WeightedSum([Linear(5), unsure, Pairs(seed=4)], [2.0, -1.0, 0.5], names=["a", "b", "c"])
    evaluator = Evaluator(oracle, batch=3, goal=goal)
    x = torch.nn.functional.one_hot(torch.randint(4, (7, 5)), 4).float()
    found = evaluator.evaluate(x.view(7, 1, 5, 4), gradient=True, each=True)
    assert found.gradient is not None
    assert found.gradient.shape == (7, 1, 3, 5, 4)
    leaf = x.requires_grad_()
    values = oracle.objectives(oracle.components(leaf.mT), goal.sign)
    for i in range(3):
        (slope,) = torch.autograd.grad(values[:, i].sum(), leaf, retain_graph=True)
        torch.testing.assert_close(found.gradient[:, 0, i], slope)
    assert evaluator.count == 7


def test_what_has_no_front_or_no_gradient_is_refused() -> None:
    with pytest.raises(NoFront, match=r"needs a WeightedSum .* got a TFBind8"):
        ParetoSearch().begin(DesignProblem(TFBind8(), FromNothing(8)))
    with pytest.raises(NoFront, match="Target"):
        ParetoSearch().begin(DesignProblem(summed(1.0, 1.0), FromNothing(6), goal=Target(1.0)))
    blind = WeightedSum([BlackBox(lambda texts: [0.0 for _ in texts])] * 2, [1.0, 1.0], names=["a", "b"])
    with pytest.raises(ValueError, match="has no gradient"):
        ParetoSearch().begin(DesignProblem(blind, FromNothing(6)), seed=0).run()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"calls": 0}, "calls must be at least 1"),
        ({"directions": 0}, "directions must be at least 1"),
        ({"chains_share": 1.5}, "chains_share is a share"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"penalty_weight": -1.0}, "penalty_weight must be 0 or positive"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ParetoSearch(**arguments)  # type: ignore[arg-type]
