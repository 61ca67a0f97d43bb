"""Insertions, deletions and shifts of a part against plain lists of letters, on an oracle whose first order is exact."""

import pytest
import torch

from discrete_lightning.design import DesignProblem, Edit, GradientSearch, Polish, Target
from discrete_lightning.design.alphabet import DNA
from discrete_lightning.design.constraints import FixedPositions, GCContent
from discrete_lightning.design.goals import Goal, Maximize, Minimize
from discrete_lightning.design.search.beam import Scored
from discrete_lightning.design.search.edit_proposals import ranked_edits
from discrete_lightning.design.search.indel_proposals import indel_proposals, partly_undone
from tests.design.toy_oracles import Linear

TEMPLATE, FLANK = "ACGGTCATTGCA", "GATTACA"
DESIGNS = [TEMPLATE, "ACGTCATTGCAG", "AACGGTCATTGC", "ACGGTTTTTGCA", "GTCATTGCAGAT", "CCCCCCCCCCCC"]
LENGTH = len(TEMPLATE)
GOALS = [Maximize(), Minimize(), Target(0.5)]


def problem_of(goal: Goal, flank: str = FLANK, weight: float = 0.3) -> DesignProblem:
    return DesignProblem(Linear(LENGTH, seed=3), Edit(TEMPLATE, weight, indels=4, flank=flank), goal=goal)


def scored(problem: DesignProblem) -> Scored:
    tokens = DNA.encode_all(DESIGNS)
    evaluation = problem.evaluator.evaluate(problem.one_hot(tokens), gradient=True)
    assert evaluation.gradient is not None
    return Scored(tokens, evaluation.scores, problem.total(evaluation.scores, tokens), evaluation.gradient)


def by_hand(row: list[int], number: int, deleted: int, inserted: int, letter: int) -> list[int]:
    """The edit of proposal `number`, as its place in the order of proposals says."""
    if number < 4 * LENGTH:
        assert (deleted, inserted, letter) == (LENGTH, number // 4, number % 4)
        return [*row[:inserted], letter, *row[inserted:]][:LENGTH]
    if number < 5 * LENGTH:
        assert (deleted, inserted) == (number - 4 * LENGTH, LENGTH - 1)
        return [*row[:deleted], *row[deleted + 1 :], letter]
    rest = row[:deleted] + row[deleted + 1 :]
    return [*rest[:inserted], letter, *rest[inserted:]]


@pytest.mark.parametrize("goal", GOALS, ids=str)
@pytest.mark.parametrize("flank", ["", FLANK])
def test_predictions_and_edited_sequences(goal: Goal, flank: str) -> None:
    problem = problem_of(goal, flank)
    members = scored(problem)
    found = indel_proposals(problem, members)
    assert found.predicted.shape == (len(DESIGNS), LENGTH * 4 + LENGTH + 2 * LENGTH)
    for row, tokens in enumerate(members.tokens):
        numbers = found.predicted[row].isfinite().nonzero().flatten()
        assert len(numbers) == 7 * LENGTH - 2  # the last place has none after it
        edited = found.edited(members.tokens, torch.full_like(numbers, row), numbers)
        for number, design in zip(numbers.tolist(), edited, strict=True):
            parts = [int(each[row, number]) for each in (found.deleted, found.inserted, found.letter)]
            assert design.tolist() == by_hand(tokens.tolist(), number, *parts)
        exact = problem.total(problem.score(edited), edited)
        single = numbers < 5 * LENGTH
        torch.testing.assert_close(found.predicted[row, numbers][single], exact[single])
        # the edits of a shift of a part are an estimate; its score is not
        free = problem.goal.loss(problem.score(edited))
        edits = (found.predicted[row, numbers] - free) / 0.3
        torch.testing.assert_close(edits[~single], edits[~single].round(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("goal", GOALS[:2], ids=str)
def test_the_best_shifts_of_a_part(goal: Goal) -> None:
    """For each place of the deletion (or insertion) no other place of the insertion (or deletion) is better."""
    problem = problem_of(goal, weight=0.0)
    members = scored(problem)
    found = indel_proposals(problem, members)
    row = members.tokens[0].tolist()

    def loss(deleted: int, inserted: int, letter: int) -> float:
        edited = torch.tensor([by_hand(row, 10**9, deleted, inserted, letter)])
        return float(goal.loss(problem.score(edited)))

    for place in range(LENGTH - 1):
        for number, others in [
            (5 * LENGTH + place, [(place, j, k) for j in range(place + 1, LENGTH) for k in range(4)]),
            (6 * LENGTH + place, [(j, place, k) for j in range(place + 1, LENGTH) for k in range(4)]),
        ]:
            assert float(found.predicted[0, number]) == pytest.approx(min(loss(*each) for each in others), abs=1e-5)


def test_what_enters() -> None:
    problem = problem_of(Maximize())
    found = indel_proposals(problem, scored(problem))
    entered = found.letter[:, 4 * LENGTH]
    assert DNA.decode(entered[:4]) == "GAAG"  # the flank's next letter: after an insertion, the template's last one
    assert entered[4] == DNA.encode("T")
    free = problem_of(Maximize(), flank="")
    best = int(free.evaluator.oracle.weight[:, -1].argmax())  # type: ignore[union-attr,index]
    assert int(indel_proposals(free, scored(free)).letter[0, 4 * LENGTH]) == best


def test_ranked_with_substitutions() -> None:
    """The totals of an exact first order come in order, and every kind of edit is among them."""
    problem = DesignProblem(Linear(LENGTH, seed=3), Edit(TEMPLATE, 0.3, indels=4, flank=FLANK))
    members = scored(problem)
    *_, last = ranked_edits(problem, members, 10**6)
    totals = problem.total(problem.score(last), last)
    assert len(last) == len(DESIGNS) * (3 * LENGTH + 7 * LENGTH - 2)
    assert bool((totals[:40].diff() > -0.61).all())  # an estimate of the edits of a shift may be 2 too high
    kinds = {int((each != members.tokens).any(-1).all()) for each in last}
    assert kinds == {0, 1}


def test_constraints_hold_and_a_shifted_design_is_found() -> None:
    """The oracle wants the template shifted by one place, all of it or a part."""
    wanted = TEMPLATE[:3] + "A" + TEMPLATE[3:-1]

    def oracle(x: torch.Tensor) -> torch.Tensor:
        return (x * torch.nn.functional.one_hot(DNA.encode(wanted), 4).mT).sum((1, 2))

    rules = [FixedPositions({0: "ACG"}), GCContent(0.2, 0.8)]
    for indels, edits in [(2, 1), (0, 8)]:
        problem = DesignProblem(oracle, Edit(TEMPLATE, 0.5, indels=indels), constraints=rules)
        search = GradientSearch(2, 2, polish=Polish(calls=200)).begin(problem, seed=0)
        search.run()
        best = search.designs(1)[0]
        assert (best.sequence, best.edits) == (wanted, edits)
        assert all(best.checks.values())
        assert problem.start.apply(best.changes) == wanted  # type: ignore[attr-defined]


def test_partly_undone() -> None:
    problem = problem_of(Maximize())
    tokens = DNA.encode("AACGGTCTTGCC")  # 1_2insA or 0_1insA, A7del, A12C
    assert int(problem.edits(tokens)) == 3
    all_kept = partly_undone(problem, tokens, [True])
    assert torch.equal(all_kept, tokens)
    assert DNA.decode(partly_undone(problem, tokens, [False])) == TEMPLATE
    for keep in ([True, False, False], [False, True, False], [False, False, True]):
        assert int(problem.edits(partly_undone(problem, tokens, keep))) == 1
    short = problem_of(Maximize(), flank="")
    assert DNA.decode(partly_undone(short, DNA.encode("CGGTCATTGCAT"), [False])) == TEMPLATE
