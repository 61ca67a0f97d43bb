"""Designs that differ in as many letters as requested, on both strands."""

import pytest
import torch

from discrete_lightning.design import (
    DesignProblem,
    FromNothing,
    GradientSearch,
    select,
)
from discrete_lightning.design.constraints import (
    MaxHomopolymer,
)
from discrete_lightning.design.oracles import MotifScan, TFBind8
from tests.design.toy_oracles import Linear


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
