"""MetropolisSearch: its samples against enumeration, its calls to the one, resuming, what it refuses."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.design import (
    DesignProblem,
    Edit,
    FromNothing,
    FromSequences,
    GibbsMoves,
    Goal,
    LangevinMoves,
    Maximize,
    MetropolisSearch,
    Minimize,
    Moves,
    PathMoves,
    Start,
    Target,
)
from discrete_lightning.design.alphabet import DNA
from discrete_lightning.design.constraints import AllowedLetters, Constraint, FixedPositions, ForbiddenMotifs
from discrete_lightning.design.oracles import BlackBox, Ehrlich, TFBind8
from discrete_lightning.schedules import Linear as LinearSchedule
from tests.design.enumeration import best_of, every
from tests.design.toy_oracles import Constant, Linear, Pairs

MOVES: dict[str, Moves] = {
    "langevin": LangevinMoves(0.5),
    "gibbs": GibbsMoves(),
    "path": PathMoves(),
    "fixed": LangevinMoves(1.0, target_acceptance=None),
}
each_move = pytest.mark.parametrize("moves", MOVES.values(), ids=MOVES)


class Counting(nn.Module):
    """Counts the sequences that it scores, and holds that each keeps the rules."""

    def __init__(self, oracle: nn.Module, rules: list[Constraint]) -> None:
        super().__init__()
        self.oracle, self.rules, self.rows = oracle, rules, 0

    def forward(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        assert all(bool(rule.satisfied(x.argmax(1), DNA).all()) for rule in self.rules)
        scores: Tensor = self.oracle(x)
        return scores


PROBLEMS: dict[str, tuple[Start, Goal, list[Constraint]]] = {
    "maximise": (FromNothing(2), Maximize(), []),
    "rules": (
        FromNothing(4),
        Minimize(),
        [FixedPositions({1: "G"}), AllowedLetters({3: "AT"}), ForbiddenMotifs(["AGC", "TG"])],
    ),
    "edit": (Edit("AC", 0.5), Target(0.5), []),
}


@pytest.mark.parametrize("name", PROBLEMS)
@each_move
def test_samples_against_enumeration(moves: Moves, name: str) -> None:
    """Total variation to exp(-total / T): below .07, of which .04 come from the number of samples."""
    start, goal, rules = PROBLEMS[name]
    oracle = Counting(Pairs(seed=2), rules)
    problem = DesignProblem(oracle, start, goal=goal, constraints=rules)
    search = MetropolisSearch(calls=6000, chains=150, moves=moves, temperature=1.0, burn_in=0.25, thin=3)
    search.begin(problem, seed=1)
    search.run()
    assert problem.evaluator.count == oracle.rows == 6000
    samples = search.samples().flatten(0, 1)
    assert len(samples) >= 1200
    tokens = every(problem.length)
    tokens = tokens[problem.feasible(tokens)]
    with torch.no_grad():
        totals = problem.total(oracle.oracle(problem.one_hot(tokens).mT), tokens)
    pi = (-totals).softmax(0)
    code = 4 ** torch.arange(problem.length)
    counts = torch.bincount((samples * code).sum(-1), minlength=4**problem.length).float()
    found = counts[(tokens * code).sum(-1)] / len(samples)
    assert float(found.sum()) == pytest.approx(1.0)  # nothing that breaks a rule
    assert float((found - pi).abs().sum() / 2) < 0.07
    assert search.designs(1)[0].total == pytest.approx(best_of(problem), abs=1e-5)
    if moves.target is not None:
        assert 0.3 < search.mean_acceptance < 0.9


@pytest.mark.parametrize("calls", [7, 8, 9, 50])
@each_move
def test_calls_are_counted_to_the_one(moves: Moves, calls: int) -> None:
    oracle = Linear(12)
    search = MetropolisSearch(calls, chains=7, moves=moves).begin(DesignProblem(oracle, FromNothing(12)), seed=0)
    search.run()
    assert search.progress().calls == oracle.rows == calls
    assert [each.calls for each in search.trajectory] == sorted(each.calls for each in search.trajectory)


def test_one_evaluation_for_each_proposal_that_needs_one() -> None:
    oracle = Linear(12)
    search = MetropolisSearch(10_000, chains=5, moves=GibbsMoves()).begin(
        DesignProblem(oracle, FromNothing(12)), seed=0
    )
    for step in range(1, 6):
        search.step(lambda loss: None)
        assert oracle.rows == 5 * step


@each_move
def test_annealing_finds_the_optimum_of_tfbind8(moves: Moves) -> None:
    search = MetropolisSearch(2000, chains=8, moves=moves).begin(DesignProblem(TFBind8(), FromNothing(8)), seed=0)
    search.run()
    assert search.designs(1)[0].score > 0.47
    assert len({design.sequence for design in search.designs(20)}) == 20


@each_move
@pytest.mark.parametrize("at", [1, 9, 30])
def test_continues_to_the_bit(moves: Moves, at: int) -> None:
    def fresh() -> MetropolisSearch:
        problem = DesignProblem(Pairs(), Edit("ACGTACG", 0.1), constraints=[ForbiddenMotifs(["GAA"])])
        return MetropolisSearch(400, 6, moves, temperature=0.5, thin=2).begin(problem, seed=5)

    whole, half, rest = fresh(), fresh(), fresh()
    whole.run()
    half.run(until=lambda now: now.step == at)
    rest.load_state_dict(copy.deepcopy(half.state_dict()))
    assert torch.equal(rest.samples(), half.samples())
    rest.run()
    assert torch.equal(rest.samples(), whole.samples())
    assert rest.trajectory == whole.trajectory
    assert rest.designs(20) == whole.designs(20)
    for name, value in whole.state_dict().items():
        if isinstance(value, Tensor):
            assert torch.equal(rest.state_dict()[name].nan_to_num(9.0), value.nan_to_num(9.0)), name


@each_move
def test_known_sequences_are_where_it_begins(moves: Moves) -> None:
    known = ["AGGTATCA", "GATATCAC", "TTTTTTTT"]
    search = MetropolisSearch(40, 4, moves).begin(DesignProblem(TFBind8(), FromSequences(known)), seed=0)
    search.step(lambda loss: None)
    assert {design.sequence for design in search.designs(40)} == set(known)


def test_infinitely_bad_sequences_are_never_where_a_chain_is() -> None:
    oracle = Ehrlich(4, 8, 2, 2, infeasible=-math.inf)
    search = MetropolisSearch(600, 8, temperature=0.2).begin(DesignProblem(oracle, FromNothing(8), "0123"), seed=0)
    search.run()
    assert bool(search.log_density.isfinite().all())
    assert bool(oracle(search.problem.one_hot(search.tokens).mT).isfinite().all())


@each_move
def test_ends_where_nothing_may_change(moves: Moves) -> None:
    problem = DesignProblem(Constant(1.0), FromNothing(3), constraints=[FixedPositions({0: "ACG"})])
    search = MetropolisSearch(100, 4, moves).begin(problem, seed=0)
    search.run()
    assert search.progress().calls == 4
    assert search.done


def test_a_schedule_of_temperatures_is_one_of_the_share_of_calls() -> None:
    seen = []

    class Recorded(LinearSchedule):
        def __call__(self, step: float) -> float:
            seen.append(step)
            return super().__call__(step)

    search = MetropolisSearch(100, 5, GibbsMoves(), temperature=Recorded(1.0, 0.01, steps=1))
    search.begin(DesignProblem(Linear(9), FromNothing(9)), seed=0).run()
    assert seen == [each / 100 for each in range(5, 100, 5)]


def test_moves_adapt_only_before_samples_are_kept() -> None:
    search = MetropolisSearch(600, 5, LangevinMoves(3.0), temperature=0.3, burn_in=0.5)
    search.begin(DesignProblem(Linear(30), FromNothing(30)), seed=0)
    sizes = []
    search.run(until=lambda now: sizes.append((now.calls, float(search.size))) or False)  # type: ignore[func-returns-value]
    late = {size for calls, size in sizes if calls > 310}
    assert len(late) == 1
    assert late != {3.0}
    assert search.mean_acceptance == pytest.approx(0.574, abs=0.2)


def test_an_oracle_without_gradient_is_refused() -> None:
    problem = DesignProblem(BlackBox(lambda texts: [0.0 for _ in texts]), FromNothing(4))
    with pytest.raises(ValueError, match=r"has no gradient.*SurrogateSearch"):
        MetropolisSearch(20, 4).begin(problem, seed=0).run()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"calls": 3, "chains": 4}, "calls must be at least 4, got 3"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"burn_in": 1.0}, "burn_in is a share of the calls"),
        ({"thin": 0, "temperature": 1.0}, "thin must be at least 1"),
        ({"thin": 5}, "thin=5 keeps samples .* give the temperature as a number, got None"),
        ({"thin": 5, "temperature": LinearSchedule(1.0, 0.1, 1)}, "give the temperature as a number"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MetropolisSearch(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make",
    [
        lambda: LangevinMoves(0.0),
        lambda: LangevinMoves(1.0, 1.0),
        lambda: PathMoves(0.5),
        lambda: PathMoves(2.0, 0.0),
    ],
)
def test_moves_that_make_no_sense(make: object) -> None:
    with pytest.raises(ValueError, match=r"must"):
        make()  # type: ignore[operator]
