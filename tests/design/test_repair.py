import random

import pytest
import torch

from discrete_lightning.constraints import (
    ForbiddenMotifs,
    GCContent,
    MaxHomopolymer,
    MaxRepeat,
    SynonymousCodons,
    Unsatisfiable,
    translate,
)
from discrete_lightning.design import DesignProblem, FromNothing, repair
from discrete_lightning.oracles import MotifScan
from tests.references.rule_sets import random_rules

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
    repaired, kept = repair(problem, tokens.clone(), generator)
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
    repaired, kept = repair(problem, torch.randint(4, (8, 33), generator=generator), generator)
    assert kept.all()
    assert {translate(problem.alphabet.decode(row)) for row in repaired} == {translate(coding)}


@pytest.mark.parametrize("seed", range(15))
def test_what_it_says_is_kept_is_kept(seed: int) -> None:
    try:
        problem = DesignProblem(MotifScan(), FromNothing(15), constraints=random_rules(random.Random(seed), 15))
    except Unsatisfiable:
        return
    except ValueError:
        return
    generator = torch.Generator().manual_seed(seed)
    repaired, kept = repair(problem, torch.randint(4, (4, 15), generator=generator), generator, rounds=60)
    assert torch.equal(problem.feasible(repaired), kept)
