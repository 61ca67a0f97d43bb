"""A designed sequence, with its scores, its edits and the result of every constraint check."""

from dataclasses import dataclass, field
from typing import Final

from torch import Tensor

from discrete_lightning.design.changes import written
from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.search.scored_sequences import ScoredSequences

COLUMNS: Final = ("name", "sequence", "score", "total", "edits", "changes", "oracle_calls", "judge")  # of designs.csv


@dataclass(frozen=True)
class Design:
    """One designed sequence.

    Attributes:
        sequence: its letters.
        score, total: the oracle's score, and the total that the search minimised.
        edits: the number of edits of the template (0 without a template).
        calls: the number of oracle evaluations at the moment the sequence was found.
        checks: constraint -> whether it is satisfied, checked again from the letters.
        changes: the edits, positions counted from 1: "A15G;C20T;30_31insT" (see design.changes, and Edit.apply).
        more: further columns: of a Composite oracle (the scores of each oracle, the mean and deviation of an ensemble), of a
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


def design_of(problem: DesignProblem, scored: ScoredSequences, row: int) -> Design:
    """The design in one row of a table of scored sequences."""
    tokens = scored.tokens[row]
    sequence = problem.alphabet.decode(tokens)
    return Design(
        sequence,
        float(scored.scores[row]),
        float(scored.totals[row]),
        int(problem.edits(tokens)),
        int(scored.calls[row]),
        check(problem, sequence),
        changes(problem, tokens),
        dict(zip(problem.evaluator.names, scored.components[row].tolist(), strict=True)),
    )


def changes(problem: DesignProblem, tokens: Tensor) -> str:
    """The edits of a sequence (length,), as in "A15G;20del;30_31insT" (see design.changes); empty without edits."""
    if problem.template is None:
        return ""
    sequence, reference = problem.alphabet.decode(tokens), problem.alphabet.decode(problem.template)
    if problem.edit_distance is None:
        return written(sequence, reference, range(problem.length))
    return written(
        sequence, problem.alphabet.decode(problem.edit_distance.reference), problem.edit_distance.aligned(tokens)
    )


def check(problem: DesignProblem, sequence: str) -> dict[str, bool]:
    """Constraint name -> whether a sequence satisfies it. Several constraints of one class are numbered."""
    kept = [constraint.check(sequence, problem.alphabet) for constraint in problem.constraints]
    return dict(zip(_labels(problem), kept, strict=True))


def _labels(problem: DesignProblem) -> list[str]:
    names = [type(constraint).__name__ for constraint in problem.constraints]
    return [f"{name}_{names[: i + 1].count(name)}" if names.count(name) > 1 else name for i, name in enumerate(names)]


def refuse_taken_names(problem: DesignProblem) -> None:
    """Two columns of designs.csv must not have the same name.

    Raises:
        ValueError: a column of the oracle has the name of another column.
    """
    taken = {*COLUMNS, *_labels(problem)}
    if wrong := [name for name in problem.evaluator.names if name in taken]:
        raise ValueError(
            f"the oracle's columns are named {wrong}, but other columns of the designs have these names: choose other names "
            f"than {', '.join(sorted(taken))}"
        )
