"""What a search hands out: sequences that keep every constraint, with what was measured of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite

import torch
from torch import Tensor

from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.search.pareto import ParetoFront
from discrete_lightning.design.search.scored import Scored

_COLUMNS = ("name", "sequence", "score", "total", "edits", "changes", "oracle_calls", "judge")


@dataclass(frozen=True)
class Design:
    """One designed sequence.

    Attributes:
        sequence: its letters.
        score, total: of the oracle, and of the objective.
        edits: letters that differ from the template (0 when designed from nothing).
        calls: oracle evaluations up to the moment of finding.
        checks: constraint -> whether it is kept, checked anew from the letters.
        changes: the edits, counted from 1: "A15G;C20T".
        more: further columns: of a Composite oracle (the scores of each of several, an ensemble's mean and deviation), of a
            judge.
    """

    sequence: str
    score: float
    total: float
    edits: int
    calls: int
    checks: dict[str, bool]
    changes: str = ""
    more: dict[str, float] = field(default_factory=dict)


def select(
    problem: DesignProblem, found: Sequence[Scored], count: int, distance: int = 1, both_strands: bool = False
) -> list[Design]:
    """The best of what was found, best first, any two of which differ in at least `distance` letters.

    What breaks a constraint is left out: each is checked here again, from its letters.

    Args:
        problem: says what is checked.
        found: an archive, a pool of chains; a sequence may be in several.
        count: at most so many.
        distance: at least 1.
        both_strands: whether two sequences must differ by `distance` on the other strand, too.

    Raises:
        ValueError: if count or distance is not positive, or the alphabet has no second strand.
    """
    if count < 1 or distance < 1:
        raise ValueError(f"designs are selected by count >= 1 and distance >= 1, got {count} and {distance}")
    if both_strands and not problem.alphabet.complements:
        raise ValueError(f"the letters {problem.alphabet.letters!r} have no second strand: leave both_strands out")
    places = [(total, each, row) for each in found for row, total in enumerate(each.totals.tolist()) if isfinite(total)]
    chosen: list[Design] = []
    kept: list[Tensor] = []
    for _, each, row in sorted(places, key=lambda place: place[0]):
        tokens = each.tokens[row]
        if kept and int((torch.stack(kept) != tokens).sum(-1).min()) < distance:
            continue
        design = _design(problem, each, row)
        if not all(design.checks.values()):
            continue
        kept.append(tokens)
        if both_strands:
            other = problem.alphabet.encode(problem.alphabet.reverse_complement(design.sequence))
            kept.append(other.to(tokens.device))
        chosen.append(design)
        if len(chosen) == count:
            break
    return chosen


def on_front(problem: DesignProblem, front: ParetoFront) -> list[Design]:
    """The designs of a Pareto front, by the first oracle's score, the best first."""
    found = [_design(problem, front, row) for row in front.values[:, 0].argsort(descending=True, stable=True).tolist()]
    return [design for design in found if all(design.checks.values())]


def _design(problem: DesignProblem, found: Scored, row: int) -> Design:
    tokens = found.tokens[row]
    sequence = problem.alphabet.decode(tokens)
    names = problem.evaluator.names
    return Design(
        sequence,
        float(found.scores[row]),
        float(found.totals[row]),
        int(problem.edits(tokens)),
        int(found.calls[row]),
        check(problem, sequence),
        changes(problem, tokens),
        dict(zip(names, found.components[row].tolist(), strict=True)),
    )


def changes(problem: DesignProblem, tokens: Tensor) -> str:
    """What was edited: the template's letter, the position from 1 on and the new letter, as in "A15G;C20T"; else empty."""
    if problem.template is None:
        return ""
    letters = problem.alphabet.letters
    places = (tokens != problem.template).nonzero().flatten().tolist()
    return ";".join(f"{letters[problem.template[i]]}{i + 1}{letters[tokens[i]]}" for i in places)


def check(problem: DesignProblem, sequence: str) -> dict[str, bool]:
    """Each constraint, by name, and whether a sequence keeps it. Several of one class are numbered."""
    kept = [constraint.check(sequence, problem.alphabet) for constraint in problem.constraints]
    return dict(zip(_labels(problem), kept, strict=True))


def _labels(problem: DesignProblem) -> list[str]:
    names = [type(constraint).__name__ for constraint in problem.constraints]
    return [f"{name}_{names[: i + 1].count(name)}" if names.count(name) > 1 else name for i, name in enumerate(names)]


def refuse_taken_names(problem: DesignProblem) -> None:
    """Two columns of a table of designs must not have one name.

    Raises:
        ValueError: if a column of the oracle has the name of another one.
    """
    taken = {*_COLUMNS, *_labels(problem)}
    if wrong := [name for name in problem.evaluator.names if name in taken]:
        raise ValueError(
            f"the oracle's columns are named {wrong}, which is what other columns of the designs are called: choose other "
            f"names than {', '.join(sorted(taken))}"
        )
