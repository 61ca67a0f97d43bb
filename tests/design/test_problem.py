"""What a problem is made of: where it starts, what it keeps, and what it refuses before the search."""

from typing import Any

import pytest
import torch

from discrete_lightning.design import DesignProblem, Edit, FromNothing, GradientSearch, Polish, SurrogateSearch
from discrete_lightning.design.constraints import (
    ForbiddenMotifs,
    GCContent,
    MaxRepeat,
    SynonymousCodons,
    Unsatisfiable,
    translate,
)
from discrete_lightning.design.oracles import MotifScan, WeightedSum
from tests.design.toy_oracles import Linear

CODING = "CCATGTCATTAAGAGGAATTTCTCTTCGTGGGTAACC"


def test_only_the_editable_changes() -> None:
    template = "ACGT" * 15
    problem = DesignProblem(Linear(60), Edit(template, 0.0, editable=[[10, 20], [50, 60]]))
    search = GradientSearch(4, 10, polish=Polish(sequences=2)).begin(problem, 0)
    search.run()
    designs = search.designs(20)
    assert designs[0].edits > 5
    for design in designs:
        assert (design.sequence[:10], design.sequence[20:50]) == (template[:10], template[20:50])
        assert design.checks == {"FixedPositions": True}


def test_the_protein_of_the_sequence_that_is_edited_is_kept() -> None:
    rules = [SynonymousCodons(start=2), ForbiddenMotifs(["GAATTT"])]
    problem = DesignProblem(Linear(len(CODING)), Edit(CODING, 0.0), constraints=rules)
    assert problem.constraints[0] == SynonymousCodons("MSLRGISLRG*", 2)
    search = GradientSearch(4, 10, polish=Polish(sequences=2, calls=100)).begin(problem, 0)
    search.run()
    found = search.designs(5)
    assert {translate(design.sequence[2:35]) for design in found} == {translate(CODING[2:35])}
    with pytest.raises(ValueError, match=r"no protein was given.*Edit"):
        DesignProblem(Linear(30), FromNothing(30), constraints=[SynonymousCodons()])


@pytest.mark.parametrize("editable", [[[0, 61]], [[-1, 4]], [[4, 4]], [[9, 3]], [[5]]])
def test_ranges_out_of_the_sequence(editable: Any) -> None:
    with pytest.raises(
        ValueError, match=r"is not a range of positions of a sequence of 60 letters; a range is \[first, end\]"
    ):
        Edit("ACGT" * 15, editable=editable)


@pytest.mark.parametrize("search", [GradientSearch(2, 2), SurrogateSearch(20, first=5)])
def test_what_cannot_be_kept_is_refused_before_any_search(search: object) -> None:
    with pytest.raises(Unsatisfiable, match=r"no sequence of length 100 satisfies this: MaxRepeat\(longest=1\)"):
        DesignProblem(MotifScan(), FromNothing(100), constraints=[GCContent(0.2, 0.8), MaxRepeat(1)])


def test_a_problem_knows_a_sequence_that_keeps_its_rules() -> None:
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    problem = DesignProblem(
        MotifScan(), Edit(CODING), constraints=[ForbiddenMotifs(["GAATTT"]), SynonymousCodons(start=2)]
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    assert problem.feasible(problem.feasible_example)
    assert 0 < int(problem.edits(problem.feasible_example)) <= 3
    assert problem.evaluator.count == 0


def test_a_long_set_of_letters_is_shortened_in_the_message() -> None:
    template = "GAATTC" * 300
    with pytest.raises(Unsatisfiable) as error:
        DesignProblem(MotifScan(), Edit(template, editable=[[0, 20]]), constraints=[ForbiddenMotifs(["GAATTC"])])
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("given", ["GCContent", ["GCContent"]])
def test_the_name_of_a_constraint_is_none(given: Any) -> None:
    with pytest.raises(TypeError, match="list of Constraint objects"):
        DesignProblem(MotifScan(), FromNothing(30), constraints=given)


def test_an_oracle_that_reads_its_letters_in_another_order_is_refused() -> None:
    oracle = WeightedSum([MotifScan("GATA2"), MotifScan("JUN")], [1.0, -1.0])
    with pytest.raises(ValueError, match="MotifScan reads the letters ACGT, in this order, and the alphabet is AGCT"):
        DesignProblem(oracle, FromNothing(30), "AGCT")
    DesignProblem(oracle, FromNothing(30), "RNA")  # U where DNA has T
