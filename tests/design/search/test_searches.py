"""What holds for every search: no design breaks a rule, a seed repeats it, it starts from given sequences, bad arguments."""

import random

import pytest
import torch

from discrete_lightning.design import (
    DesignProblem,
    Edit,
    FromNothing,
    FromSequences,
    GradientSearch,
    Polish,
    Search,
    SurrogateSearch,
)
from discrete_lightning.design.constraints import (
    ForbiddenMotifs,
    GCContent,
    MaxHomopolymer,
    SynonymousCodons,
    Unsatisfiable,
    translate,
)
from discrete_lightning.design.oracles import MotifScan, TFBind8
from tests.design.enumeration import every
from tests.design.toy_oracles import Pairs
from tests.references.rule_sets import random_rules
from tests.references.rules import keeps


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
