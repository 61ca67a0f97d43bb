"""GradientSearch(calls=N): the number of calls is the only setting, and it is kept exactly."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.design import (
    DesignProblem,
    Edit,
    FromNothing,
    FromSequences,
    GradientSearch,
    Maximize,
    MetropolisSearch,
    ParetoSearch,
    Polish,
    Search,
    Start,
    Target,
)
from discrete_lightning.design.constraints import GCContent, MaxHomopolymer
from discrete_lightning.design.oracles import BlackBox, Ehrlich, MotifScan, TFBind8, WeightedSum
from discrete_lightning.design.search.plan import planned
from discrete_lightning.estimators import Estimator, GumbelRao, GumbelSoftmax, LeaveOneOut, StraightThroughGumbel
from discrete_lightning.schedules import Linear as Linear_
from tests.design.runs import BEST
from tests.design.toy_oracles import Linear

STARTS: dict[str, Start] = {
    "nothing": FromNothing(30),
    "template": Edit("ACGTACGTAC" * 3, 0.05),
    "one given": FromSequences(["ACGTACGTAC" * 3]),
    "many given": FromSequences(["ACGT"[i % 4] * 10 + "ACGTACGTAC" * 2 for i in range(40)]),
}


class Seen(nn.Module):
    """A motif scan that remembers the number of sequences that it has scored, and the best of each."""

    def __init__(self) -> None:
        super().__init__()
        self.scan, self.best = MotifScan("JUN"), list[float]()

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.scan(x)
        self.best += scores.tolist()
        return scores


@pytest.mark.parametrize("calls", [10, 11, 37, 100, 199, 200, 700])
@pytest.mark.parametrize("start", STARTS)
def test_exactly_so_many_calls_are_made_and_the_best_is_kept(start: str, calls: int) -> None:
    oracle = Seen()
    rules = [MaxHomopolymer(12), GCContent(0.1, 0.9)]
    search = GradientSearch(calls=calls).begin(DesignProblem(oracle, STARTS[start], constraints=rules), seed=calls)
    search.run()
    assert len(oracle.best) == search.problem.evaluator.count == search.progress().calls == calls
    (design,) = search.designs(1)
    if start != "template":  # without a price of edits, and with rules that the best keep, it is the best of all scored
        assert design.score >= sorted(oracle.best)[-2] - 1e-5
    assert all(design.checks.values())


@pytest.mark.parametrize(
    "estimator", [StraightThroughGumbel(), GumbelSoftmax(), LeaveOneOut(3)], ids=lambda each: type(each).__name__
)
@pytest.mark.parametrize("calls", [10, 50, 203])
def test_an_estimator_that_needs_more_calls_a_sample_keeps_the_number(estimator: Estimator, calls: int) -> None:
    oracle = Linear(12)
    search = GradientSearch(calls=calls, estimator=estimator).begin(DesignProblem(oracle, FromNothing(12)), seed=0)
    search.run()
    assert oracle.rows == search.progress().calls == calls


def test_calls_before_the_search_are_not_its_own() -> None:
    problem = DesignProblem(TFBind8(), FromNothing(8))
    problem.score(problem.alphabet.encode_all(["AAAAAAAA", "CCCCCCCC"]))
    search = GradientSearch(calls=60).begin(problem, seed=0)
    search.run()
    assert problem.evaluator.count == 62
    assert search.done


@pytest.mark.parametrize("start", [FromNothing(3), Edit("ACG", 0.01)], ids=["nothing", "template"])
def test_the_search_ends_when_no_sequence_is_left(start: Start) -> None:
    """There are 64 sequences; chains may draw one twice, a polish does not."""
    oracle = Linear(3)
    search = GradientSearch(calls=5000).begin(DesignProblem(oracle, start, goal=Target(0.3)), seed=0)
    search.run()
    assert search.done
    assert oracle.rows <= 5000
    everything = torch.cartesian_prod(*[torch.arange(4)] * 3)
    totals = search.problem.total(search.problem.score(everything), everything)
    assert search.progress().best_total == pytest.approx(float(totals.min()), abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_tfbind8_optimum_within_500_calls(seed: int) -> None:
    search = GradientSearch(calls=500).begin(DesignProblem(TFBind8(), FromNothing(8)), seed)
    search.run()
    assert search.progress().best_score == pytest.approx(BEST)


def test_ehrlich_of_four_letters_from_infeasible_starts() -> None:
    """A random sequence is infeasible there; the chains find the way."""
    for seed in range(3):
        oracle = Ehrlich(letters=4, length=48, motifs=3, motif_length=4, seed=seed)
        search = GradientSearch(calls=800).begin(DesignProblem(oracle, FromNothing(48)), seed)
        search.run()
        assert search.progress().best_score == 1


def test_few_edits_suffice_where_few_calls_are_left() -> None:
    """One letter of a perfect site is broken: the edit that mends it is the best, and found at once."""
    scan = MotifScan("GATA2", reduce="max")
    site = "".join("ACGT"[i] for i in scan.weight.argmax(0).tolist())
    goal = Target(float(scan.weight.amax(0).sum()))
    broken = "TTTTTTTTT" + site[:5] + ("C" if site[5] != "C" else "G") + site[6:] + "TTTTTTTTT"
    search = GradientSearch(calls=20).begin(DesignProblem(scan, Edit(broken, 0.01), goal=goal), seed=0)
    search.run()
    design = search.designs(1)[0]
    assert (design.edits, design.total) == (1, pytest.approx(0.01, abs=1e-4))


def test_what_is_planned_is_not_given() -> None:
    for settings in ({"chains": 3}, {"steps": 5, "polish": Polish()}, {"learning_rate": 0.1}):
        chosen: Any = settings
        with pytest.raises(ValueError, match=f"leave out {', '.join(settings)}"):
            GradientSearch(calls=100, **chosen)
    with pytest.raises(ValueError, match="calls must be at least 10, got 9"):
        GradientSearch(calls=9)
    assert GradientSearch().calls == 5000
    assert GradientSearch(chains=4).calls is None


def test_several_oracles_and_an_oracle_without_gradient() -> None:
    both = WeightedSum([TFBind8(), Linear(8)], [1.0, -0.1])
    search = GradientSearch(calls=120).begin(DesignProblem(both, FromNothing(8)), seed=0)
    search.run()
    assert len(search.pareto_designs()) > 1
    assert search.progress().calls == 120
    black_box = BlackBox(lambda sequences: [float(each.count("A")) for each in sequences])
    with pytest.raises(ValueError, match="has no gradient"):
        GradientSearch(calls=100).begin(DesignProblem(black_box, FromNothing(6)), seed=0).run()


@pytest.mark.parametrize("given", [0, 1, 7])
@pytest.mark.parametrize("calls", [10, 50, 100, 199, 200, 2400, 100_000])
def test_a_plan_uses_every_number_of_calls(calls: int, given: int) -> None:
    plan = planned(calls, given)
    assert plan.chains * plan.steps <= 0.3 * calls
    assert plan.polish.restarts >= calls
    if plan.steps and not given:
        assert plan.chains * plan.steps > 0.25 * calls - plan.chains
        assert plan.learning_rate * plan.steps == pytest.approx(min(15.0, plan.steps))


class Rare(nn.Module):
    """Infinitely bad unless the first letters are all A; smooth below that."""

    def forward(self, x: Tensor) -> Tensor:
        found = x[:, 0, :6].sum(1)
        return torch.where(found.detach() > 5.5, found, found - torch.inf)


def test_chains_go_on_while_no_sequence_is_feasible() -> None:
    """The share of the chains ends after 18 calls, and none of 64 letters was right by chance."""
    search = GradientSearch(calls=60).begin(DesignProblem(Rare(), FromNothing(8)), seed=0)
    search.run()
    assert search.progress().best_score == 6
    assert search.progress().calls == 60


GOALS = {"maximise": Maximize(), "target": Target(3.0), "far target": Target(-50.0)}


@pytest.mark.parametrize("price", [0.1, 3.0])
@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("calls", [100, 1000])
def test_edits_go_on_where_the_best_has_few(goal: str, price: float, calls: int) -> None:
    """Of no or one edit there are no halves to undo. All calls are made, and no single edit is better than the best."""
    text = "".join("ACGT"[i] for i in torch.randint(4, (60,), generator=torch.Generator().manual_seed(0)).tolist())
    search = GradientSearch(calls=calls).begin(
        DesignProblem(MotifScan("GATA2"), Edit(text, price), goal=GOALS[goal]), seed=0
    )
    search.run()
    problem = search.problem
    assert problem.evaluator.count == calls
    assert problem.template is not None
    singles = problem.template.repeat(240, 1)
    singles[torch.arange(240), torch.arange(240) // 4] = torch.arange(240) % 4
    least = float(problem.total(problem.score(singles), singles).min())
    if calls == 1000:
        assert search.progress().best_total <= least + 1e-5


def test_the_best_of_many_given_sequences_is_found_wherever_it_is() -> None:
    """Every fourth of 400 is scored: the good ones are a block at the end, as in a sorted file."""
    oracle = Linear(12)
    best = "".join("ACGT"[i] for i in oracle.weight.argmax(0).tolist())
    worst = "".join("ACGT"[i] for i in oracle.weight.argmin(0).tolist())
    given = [worst[:11] + "ACGT"[i % 4] for i in range(380)] + [best] * 20
    search = GradientSearch(calls=200).begin(DesignProblem(oracle, FromSequences(given)), seed=0)
    search.run(until=lambda now: now.calls >= 52)
    assert search.progress().best_score == pytest.approx(float(oracle.weight.detach().amax(0).sum()), abs=1e-5)


class Infeasible(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum((1, 2)) - torch.inf


@pytest.mark.parametrize(
    "start", [FromNothing(8), Edit("ACGTACGT"), FromSequences(["ACGTACGT"])], ids=lambda each: type(each).__name__
)
def test_an_oracle_without_feasible_sequences_is_named(start: Start) -> None:
    search = GradientSearch(calls=300).begin(DesignProblem(Infeasible(), start), seed=0)
    with pytest.raises(ValueError, match="no sequence with a finite score"):
        search.run()


def test_samples_of_a_gradient_are_not_oracle_calls() -> None:
    search = GradientSearch(calls=1000, estimator=GumbelRao(samples=10)).begin(
        DesignProblem(Linear(12), FromNothing(12)), seed=0
    )
    assert search.calls_a_sample == 1
    assert search.plan == planned(1000, 0)


@pytest.mark.parametrize(
    "make", [lambda: MetropolisSearch(calls=60, chains=4), lambda: ParetoSearch(calls=60, directions=3)]
)
def test_other_searches_count_their_own_calls(make: Callable[[], Search]) -> None:
    problem = DesignProblem(WeightedSum([TFBind8(), Linear(8)], [1.0, -0.1]), FromNothing(8))
    problem.score(torch.randint(4, (100, 8)))
    search = make().begin(problem, seed=0)
    search.run()
    assert problem.evaluator.count == 160
    assert search.spent == 60


def test_ctrl_c_while_the_polish_begins_loses_no_sequence() -> None:
    class Stops(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scan, self.calls, self.stop = MotifScan("GATA2"), 0, -1

        def forward(self, x: Tensor) -> Tensor:
            self.calls += len(x)
            if self.calls == self.stop:
                raise KeyboardInterrupt
            scores: Tensor = self.scan(x)
            return scores

    def run(stop: int) -> list[str]:
        oracle = Stops()
        oracle.stop = stop
        search = GradientSearch(calls=700).begin(DesignProblem(oracle, FromNothing(30)), seed=0)
        if stop > 0:
            with pytest.raises(KeyboardInterrupt):
                search.run()
            oracle.stop = -1
            assert not search.polisher.begun
            search.run()
        else:
            search.run()
        assert search.polisher.begun
        return [design.sequence for design in search.designs(5)]

    sampled = planned(700, 0)
    assert run(sampled.chains * sampled.steps + sampled.polish.sequences) == run(-1)


def test_a_schedule_of_another_counter_is_refused() -> None:
    with pytest.raises(ValueError, match="give steps=1"):
        MetropolisSearch(temperature=Linear_(2.0, 0.1, 1000))
    MetropolisSearch(temperature=Linear_(2.0, 0.1, 1))
