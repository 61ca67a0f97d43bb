import random

import pytest
import torch
from torch import nn

from discrete_lightning.design import DesignProblem, FromNothing
from discrete_lightning.design.alphabet import DNA
from discrete_lightning.design.constraints import (
    Constraint,
    ConstraintSet,
    ForbiddenMotifs,
    GCContent,
    MaxHomopolymer,
    MaxRepeat,
    SynonymousCodons,
    check_satisfiable,
    repair,
    translate,
)
from discrete_lightning.design.oracles import MotifScan
from tests.references.rule_sets import long_rules, random_rules
from tests.references.rules import keeps, keeps_plain

SYNTHESIS = [
    GCContent(0.25, 0.65),
    GCContent(0.2, 0.75, window=50),
    MaxHomopolymer(4),
    MaxRepeat(9),
    ForbiddenMotifs(["GAATTC", "GGTCTC", "CGTCTC"]),
]


def test_random_sequences_become_fit_for_synthesis() -> None:
    problem = DesignProblem(MotifScan(), FromNothing(200), constraints=SYNTHESIS)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(4, (5, 200), generator=generator)
    tokens[0] = 0  # a single long run
    repaired, kept = repair(problem.rules, tokens.clone(), generator)
    assert kept.all()
    assert problem.feasible(repaired).all()
    assert problem.evaluator.count == 0
    assert ((repaired != tokens).sum(1)[1:] < 20).all()


def test_codons_are_repaired() -> None:
    coding = "ATGTCATTAAGAGGAATTTCTCTTCGTGGGATA"
    problem = DesignProblem(
        MotifScan(), FromNothing(33), constraints=[SynonymousCodons(translate(coding)), ForbiddenMotifs(["GAATTT"])]
    )
    generator = torch.Generator().manual_seed(0)
    repaired, kept = repair(problem.rules, torch.randint(4, (8, 33), generator=generator), generator)
    assert kept.all()
    assert {translate(problem.alphabet.decode(row)) for row in repaired} == {translate(coding)}


@pytest.mark.parametrize("seed", range(30))
def test_random_satisfiable_sets_are_repaired(seed: int) -> None:
    """Sets that the exact decision of 6 letters finds satisfiable, where repair comes from every beginning; read on strings."""
    rules = random_rules(random.Random(seed), 6)
    try:
        problem = DesignProblem(MotifScan(), FromNothing(6), constraints=rules)
    except ValueError:  # unsatisfiable, or a rule that contradicts itself
        return
    generator = torch.Generator().manual_seed(seed)
    repaired, kept = repair(problem.rules, torch.randint(4, (4, 6), generator=generator), generator)
    assert kept.any()
    for row, good in zip(repaired, kept.tolist(), strict=True):
        assert all(keeps(rule, problem.alphabet.decode(row)) for rule in rules) is good


@pytest.mark.parametrize("letters", ["ACGT", "01"])
@pytest.mark.parametrize("seed", range(5))
def test_long_satisfiable_sets_are_repaired(seed: int, letters: str) -> None:
    """Rules that a hidden sequence keeps, from other beginnings."""
    rng = random.Random(seed)
    hidden = "".join(rng.choice(letters) for _ in range(120))
    check = keeps if letters == "ACGT" else keeps_plain
    rules: list[Constraint] = []
    while len(rules) < 4:
        rules += [rule for rule in long_rules(rng, 120, letters) if check(rule, hidden)]
    problem = DesignProblem(nn.Identity(), FromNothing(120), letters, constraints=rules)
    generator = torch.Generator().manual_seed(seed)
    repaired, kept = repair(problem.rules, torch.randint(len(letters), (4, 120), generator=generator), generator)
    assert kept.all()
    assert all(check(rule, problem.alphabet.decode(row)) for rule in rules for row in repaired)


def test_the_fallback_replaces_a_row_if_no_row_can_be_repaired() -> None:
    problem = DesignProblem(MotifScan(), FromNothing(60), constraints=[MaxRepeat(4)])
    tokens = torch.zeros(3, 60, dtype=torch.int64)
    repaired, kept = repair(problem.rules, tokens.clone(), rounds=0, fallback=problem.feasible_example)
    assert kept.tolist() == [True, False, False]
    assert torch.equal(repaired[0], problem.feasible_example)
    assert torch.equal(repaired[1:], tokens[1:])


def test_violations_far_apart_are_repaired_together() -> None:
    rules = ConstraintSet([ForbiddenMotifs(["GAATTC"])], 400, DNA)
    tokens = DNA.encode("GAATTCACTA" * 40).unsqueeze(0)
    repaired, kept = repair(rules, tokens.clone(), torch.Generator().manual_seed(0), rounds=12)
    assert kept.all()
    assert int((repaired != tokens).sum()) == 40


def test_it_ends_when_enough_are_repaired() -> None:
    rules = ConstraintSet([MaxRepeat(5)], 200, DNA)
    tokens = torch.zeros(2, 200, dtype=torch.int64)
    tokens[0] = check_satisfiable([MaxRepeat(5)], 200, DNA)
    repaired, kept = repair(rules, tokens, torch.Generator().manual_seed(0), enough=1)
    assert kept.tolist() == [True, False]
    assert torch.equal(repaired, tokens)
