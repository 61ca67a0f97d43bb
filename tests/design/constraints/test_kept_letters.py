"""Letters that keep their order, against every placement of their runs, and against the edits that they leave possible."""

import random

import pytest
import torch

from discrete_lightning.design import DesignProblem, Edit, GradientSearch, Polish
from discrete_lightning.design.alphabet import DNA
from discrete_lightning.design.constraints import ConstraintSet, FixedPositions, KeptLetters, repair
from tests.design.test_edit_distance import plain
from tests.design.toy_oracles import Linear


def misses(runs: list[tuple[int, str]], row: str, shift: int, end: int = 0, last: int = 0) -> int:
    """The least number of wrong letters over all placements of the runs from `end` on, as the definition says."""
    if not runs:
        return 0
    (first, text), rest = runs[0], runs[1:]
    starts = range(end, len(row) + 1) if first > last else [end]
    counts = [
        sum(a != b for a, b in zip(row[start:], text, strict=False))
        + misses(rest, row, shift, min(len(row), start + len(text)), first + len(text))
        for start in starts
        if abs(start - first) <= shift
    ]
    return min(counts, default=10**6)


def random_case(rng: random.Random) -> tuple[KeptLetters, int, list[str]]:
    length = rng.randint(4, 12)
    reference = "".join(rng.choice("ACG") for _ in range(length + rng.choice([0, 0, 3])))
    places = sorted(rng.sample(range(length + 1), rng.choice([2, 2, 4]) if length > 4 else 2))
    rule = KeptLetters(reference, tuple(zip(places[::2], places[1::2], strict=True)), rng.randint(0, 3))
    rows = ["".join(rng.choice("ACG") for _ in range(length)) for _ in range(30)]
    for _ in range(60):
        row, place = list(reference), rng.choice(places)
        for _ in range(rng.randint(0, 2)):
            row[place:place] = rng.choice("ACG") * rng.randint(0, 2)
            del row[place : place + rng.randint(0, 2)]
        rows.append("".join(row + rng.choices("ACG", k=6))[:length])
    return rule, length, rows


@pytest.mark.parametrize("seed", range(20))
def test_penalty(seed: int) -> None:
    rule, length, rows = random_case(random.Random(seed))
    tokens = DNA.encode_all(rows)
    runs = sorted((first, text) for first, text in rule._runs(DNA))
    expected = [misses(runs, row, rule.shift) for row in rows]
    found = rule.penalty(torch.nn.functional.one_hot(tokens, 4).float(), DNA)
    assert [int(min(each, 10**6)) if each < 2 * length else 10**6 for each in found.tolist()] == expected
    kept = rule.satisfied(tokens, DNA)
    assert torch.equal(kept, torch.tensor(expected) == 0)
    allowed = rule.allowed(length, DNA).gather(-1, tokens[kept].T).T
    assert bool(allowed.all())


@pytest.mark.parametrize("seed", range(20, 30))
def test_what_is_kept_can_be_made_by_edits_in_the_ranges(seed: int) -> None:
    """And what is not kept cannot: the constraint and the edit distance have the same idea of an edit in a range."""
    rule, _, rows = random_case(random.Random(seed))
    editable = [any(first <= i < end for first, end in rule.editable) for i in range(len(rule.reference))]
    for row in rows:
        assert (plain(rule.reference, row, editable, rule.shift) < 10_000) is rule.check(row)


def test_repair() -> None:
    """Letters out of place are put back by substitutions."""
    rule = KeptLetters("ACGTACGTACGT", ((4, 6),), 2)
    rules = ConstraintSet([rule], 12, DNA)
    start = DNA.encode_all(["ACGTTTTACGTA", "TTTTACGTACGT"])
    fixed, done = repair(rules, start, torch.Generator().manual_seed(0))
    assert done.all()
    assert int((fixed != start).sum()) <= 7


def test_edits_of_a_range_shift_the_rest() -> None:
    """A letter is wanted between two of the template, whose other letters are kept; then one position is fixed, too."""
    template = "ACGTACGTACGTACGT"
    wanted = template[:6] + "T" + template[6:-1]

    def oracle(x: torch.Tensor) -> torch.Tensor:
        return (x * torch.nn.functional.one_hot(DNA.encode(wanted), 4).mT).sum((1, 2))

    found = {}
    for fixed in (False, True):
        rules = [FixedPositions({15: "T"})] if fixed else []
        problem = DesignProblem(oracle, Edit(template, 0.1, [[5, 8]], indels=2), constraints=rules)
        search = GradientSearch(2, 2, polish=Polish(calls=300)).begin(problem, seed=0)
        search.run()
        found[fixed] = search.designs(1)[0]
        assert all(found[fixed].checks.values())
        assert "KeptLetters" in found[fixed].checks
    assert (found[False].sequence, found[False].changes) == (wanted, "6_7insT")
    assert found[True].sequence[8:] == template[8:]  # an insertion would move another letter to the fixed position
    problem = DesignProblem(Linear(16), Edit(template, 0.1, [[5, 8]]))
    assert [str(rule).partition("(")[0] for rule in problem.constraints] == ["FixedPositions"]


def test_refuses() -> None:
    with pytest.raises(ValueError, match="is not a range"):
        KeptLetters("ACGT", ((2, 9),), 1)
    with pytest.raises(ValueError, match="shift"):
        KeptLetters("ACGT", ((2, 3),), -1)
    with pytest.raises(ValueError, match="shorter than the sequences, 5"):
        KeptLetters("ACGT", ((2, 3),), 1).validate(5, DNA)
