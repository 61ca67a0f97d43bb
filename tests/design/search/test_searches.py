"""What the searches find, against enumeration; that they count, keep the rules and repeat themselves."""

import random

import pytest
import torch

from discrete_lightning.design import (
    DesignProblem,
    Edit,
    FromNothing,
    FromSequences,
    GradientSearch,
    Minimize,
    Polish,
    Search,
    SurrogateSearch,
    Target,
    select,
)
from discrete_lightning.design.constraints import (
    ForbiddenMotifs,
    GCContent,
    MaxHomopolymer,
    SynonymousCodons,
    Unsatisfiable,
    translate,
)
from discrete_lightning.design.oracles import BlackBox, MotifScan, TFBind8
from discrete_lightning.estimators import Estimator, GumbelSoftmax, LeaveOneOut, ReinMax, StraightThroughGumbel
from tests.design.toy_oracles import Linear, Pairs
from tests.references.rule_sets import random_rules
from tests.references.rules import keeps

BEST = float(TFBind8().table.max())


def every(length: int) -> torch.Tensor:
    return torch.cartesian_prod(*[torch.arange(4)] * length)


def best_of(problem: DesignProblem) -> float:
    """The least total of all sequences that keep the constraints, by enumeration."""
    tokens = every(problem.length)
    tokens = tokens[problem.feasible(tokens)]
    x = problem.one_hot(tokens).mT
    return float(problem.total(problem.evaluator.oracle(x), tokens).detach().min())


@pytest.mark.parametrize("seed", range(10))
def test_tfbind8_optimum_within_2000_calls(seed: int) -> None:
    """The settings of configs/design/quickstart.yaml."""
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


@pytest.mark.parametrize("seed", range(4))
def test_edits_that_do_not_pay_are_undone(seed: int) -> None:
    """Separable effects: an edit belongs into the optimum exactly if it gains more than it costs."""
    oracle = Linear(40, seed=seed)
    template = "ACGT" * 10
    problem = DesignProblem(oracle, Edit(template, edit_weight=1.5))
    search = GradientSearch(chains=4, steps=20, template_logit=2.0, learning_rate=1.0).begin(problem, seed)
    search.run()
    tokens = problem.alphabet.encode(template)
    weight = oracle.weight.detach().T
    gain = weight.max(1).values - weight.gather(1, tokens[:, None]).squeeze(1)
    design = search.designs(1)[0]
    assert design.edits == int((gain > 1.5).sum())
    expected = -float(weight.gather(1, tokens[:, None]).sum()) - float((gain - 1.5).clamp_min(0).sum())
    assert design.total == pytest.approx(expected, abs=1e-4)


def test_polish_joins_edits_that_pay_only_together() -> None:
    """Neighbouring letters that interact: a beam finds the optimum of 4,096 sequences that greedy edits miss."""
    problem = DesignProblem(Pairs(seed=3), FromNothing(6))
    search = GradientSearch(chains=1, steps=0, polish=Polish(sequences=1, beam=16, patience=6, restarts=5)).begin(
        problem, 0
    )
    search.run()
    assert search.progress().best_total == pytest.approx(best_of(problem), abs=1e-5)


@pytest.mark.parametrize("seed", range(25))
def test_no_design_breaks_a_random_set_of_rules(seed: int) -> None:
    rng = random.Random(1000 + seed)
    rules = random_rules(rng, 6)
    method: Search = SurrogateSearch(calls=60, first=20) if seed % 3 == 0 else GradientSearch(4, 5, polish=Polish(4, 1))
    try:
        problem = DesignProblem(Pairs(seed=seed), FromNothing(6), constraints=rules)
    except Unsatisfiable:
        strings = [problem_string(row) for row in every(6)]
        assert not any(all(keeps(rule, string) for rule in rules) for string in strings)
        return
    except ValueError:
        return  # a rule that contradicts itself
    search = method.begin(problem, seed)
    search.run()
    designs = search.designs(50)
    assert designs
    for design in designs:
        assert all(keeps(rule, design.sequence) for rule in rules), (design, rules)
        assert all(design.checks.values())
        assert len(design.checks) == len(rules)


def problem_string(row: torch.Tensor) -> str:
    return "".join("ACGT"[i] for i in row.tolist())


def test_a_long_design_under_all_rules() -> None:
    coding = "ATGTCATTAAGAGGAATTTCTCTTCGTGGGATAAAACCGGAATTCGGT"
    rules = [
        SynonymousCodons(translate(coding)),
        ForbiddenMotifs(["GAATTC", "GGTCTC"]),
        MaxHomopolymer(4),
        GCContent(0.3, 0.7, window=20),
    ]
    problem = DesignProblem(MotifScan("JUN"), Edit(coding, 0.1), constraints=rules)
    search = GradientSearch(chains=8, steps=20, template_logit=3.0, penalty_weight=3.0).begin(problem, seed=0)
    search.run()
    for design in search.designs(20):
        assert translate(design.sequence) == translate(coding)
        assert all(keeps(rule, design.sequence) for rule in rules[1:])
    assert search.designs(1)[0].score > float(problem.score(problem.alphabet.encode_all([coding]))[0])


def test_goals() -> None:
    for goal, expected in ((Minimize(), -0.47907), (Target(0.2), 0.2)):
        search = GradientSearch(chains=8, steps=20, learning_rate=1.0).begin(
            DesignProblem(TFBind8(), FromNothing(8), goal=goal), 0
        )
        search.run()
        assert search.designs(1)[0].score == pytest.approx(expected, abs=2e-3)


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


def test_black_box_refuses_relaxed_samples() -> None:
    search = GradientSearch(chains=2, steps=2, estimator=GumbelSoftmax())
    search.begin(DesignProblem(BlackBox(lambda s: [0.0] * len(s)), FromNothing(5)), seed=0)
    with pytest.raises(ValueError, match="not one-hot"):
        search.run()


@pytest.mark.parametrize(
    "make", [lambda: GradientSearch(4, 6, polish=Polish(4, 1)), lambda: SurrogateSearch(60, first=20)]
)
def test_a_seed_repeats_the_search(make: object) -> None:
    runs = []
    for seed in (5, 5, 6):
        search: Search = make()  # type: ignore[operator]
        search.begin(DesignProblem(TFBind8(), FromNothing(8)), seed)
        search.run()
        runs.append([(design.sequence, design.score, design.calls) for design in search.designs(10)])
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize(
    "make", [lambda: GradientSearch(4, 0, polish=Polish(4, 1)), lambda: SurrogateSearch(40, first=10)]
)
def test_known_sequences_are_where_it_begins(make: object) -> None:
    known = ["AGGTATCA", "GATATCAC", "TTTTTTTT"]
    search: Search = make()  # type: ignore[operator]
    search.begin(DesignProblem(TFBind8(), FromSequences(known)), seed=0)
    search.step(lambda loss: None)
    assert {design.sequence for design in search.designs(40)} >= set(known)


def test_designs_differ_by_the_distance_asked_for() -> None:
    search = GradientSearch(chains=16, steps=10, learning_rate=1.0).begin(DesignProblem(TFBind8(), FromNothing(8)), 0)
    search.run()
    for distance in (1, 3, 5):
        tokens = [search.problem.alphabet.encode(design.sequence) for design in search.designs(20, distance)]
        apart = [int((a != b).sum()) for i, a in enumerate(tokens) for b in tokens[:i]]
        assert min(apart) >= distance


@pytest.mark.parametrize("distance", [20, 30])
def test_as_many_spread_designs_as_the_chains_have(distance: int) -> None:
    """The best of all lie close together; each chain's best is a choice, too, exact and within the rules."""
    problem = DesignProblem(MotifScan("GATA2"), FromNothing(60), constraints=[MaxHomopolymer(4)])
    search = GradientSearch(chains=64, steps=40).begin(problem, seed=0)
    search.run()
    designs = search.designs(20, distance)
    assert len(select(problem, [search.best_overall], 20, distance)) < len(designs) == 20
    tokens = problem.alphabet.encode_all([design.sequence for design in designs])
    apart = (tokens[:, None] != tokens).sum(-1) + 60 * torch.eye(20, dtype=torch.int64)
    assert int(apart.min()) >= distance
    torch.testing.assert_close(problem.score(tokens), torch.tensor([design.score for design in designs]))
    assert [design.total for design in designs] == sorted(design.total for design in designs)
    assert all(0 < design.calls <= problem.evaluator.count for design in designs)
    assert all(design.checks["MaxHomopolymer"] for design in designs)


def test_both_strands_count_when_asked_for() -> None:
    search = GradientSearch(chains=32, steps=10, learning_rate=1.0).begin(DesignProblem(TFBind8(), FromNothing(8)), 0)
    search.run()
    turned = search.problem.alphabet.reverse_complement
    one, both = ([design.sequence for design in search.designs(20, 2, strands)] for strands in (False, True))
    assert any(turned(sequence) in one and turned(sequence) != sequence for sequence in one)
    for i, a in enumerate(both):
        assert all(sum(x != y for x, y in zip(turned(a), b, strict=True)) >= 2 for b in both[:i])
    proteins = DesignProblem(Linear(5, 20), FromNothing(5), "protein")
    with pytest.raises(ValueError, match="no second strand"):
        GradientSearch(2, 1).begin(proteins, 0).designs(2, both_strands=True)


@pytest.mark.parametrize("sequences", [1, 2])
@pytest.mark.parametrize("steps", [0, 3])
def test_no_edit_is_worse_than_none(sequences: int, steps: int) -> None:
    """Edits cost more than they can gain, and the chains begin far from the template: the template itself is the best."""
    problem = DesignProblem(Linear(30), Edit("ACGTA" * 6, edit_weight=20.0))
    polish = Polish(sequences=sequences, proposals=1, patience=1, calls=2)
    search = GradientSearch(chains=4, steps=steps, template_logit=0.0, polish=polish).begin(problem, seed=0)
    search.run()
    best = search.designs(1)[0]
    assert (best.sequence, best.edits, best.changes) == ("ACGTA" * 6, 0, "")
    assert best.calls == 1
    assert search.progress().best_total == pytest.approx(best.total)


def test_changes_name_the_edits() -> None:
    problem = DesignProblem(Linear(12), Edit("ACGT" * 3, edit_weight=0.5))
    search = GradientSearch(chains=4, steps=5).begin(problem, seed=0)
    search.run()
    for design in search.designs(10):
        sequence = list("ACGT" * 3)
        for change in filter(None, design.changes.split(";")):
            assert sequence[int(change[1:-1]) - 1] == change[0]
            sequence[int(change[1:-1]) - 1] = change[-1]
        assert "".join(sequence) == design.sequence
        assert len(design.changes.split(";")) == max(1, design.edits)


@pytest.mark.parametrize("calls", [1, 5, 50])
def test_a_polish_spends_no_more_than_it_may(calls: int) -> None:
    polish = Polish(proposals=8, sequences=8, restarts=1000, calls=calls)
    search = GradientSearch(chains=8, steps=2, polish=polish).begin(DesignProblem(MotifScan("JUN"), FromNothing(40)), 0)
    search.run()
    assert search.problem.evaluator.count == 8 * 2 + calls


def test_an_oracle_without_gradient_needs_an_estimator_that_needs_none() -> None:
    for steps in (3, 0):
        search = GradientSearch(4, steps).begin(DesignProblem(Pairs(hard=True), FromNothing(6)), 0)
        with pytest.raises(ValueError, match="Pairs has no gradient"):
            search.run()
    problem = DesignProblem(Pairs(hard=True), FromNothing(6))
    search = GradientSearch(8, 30, LeaveOneOut(4), learning_rate=0.5).begin(problem, 0)
    search.run()
    assert search.progress().best_total == pytest.approx(best_of(problem), abs=0.5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: GradientSearch(chains=0),
        lambda: GradientSearch(steps=-1),
        lambda: GradientSearch(learning_rate=0.0),
        lambda: Polish(proposals=0),
        lambda: Polish(restarts=-1),
        lambda: Polish(calls=0),
        lambda: SurrogateSearch(calls=0),
        lambda: SurrogateSearch(exploration=-1.0),
        lambda: FromNothing(0),
        lambda: FromSequences(["ACGT", "ACG"]),
        lambda: FromSequences([]),
        lambda: FromSequences("ACGT"),  # type: ignore[arg-type]
        lambda: DesignProblem(TFBind8(), FromSequences(["ACGTACGX"])),
        lambda: Edit(""),
        lambda: Edit("ACGT", -1.0),
        lambda: DesignProblem(TFBind8(), Edit("ACGX")),
    ],
)
def test_arguments_that_make_no_sense(make: object) -> None:
    with pytest.raises(ValueError):
        make()  # type: ignore[operator]
