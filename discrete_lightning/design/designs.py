"""What a search hands out: sequences that keep every constraint, with what was measured of them."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.design.archive import Archive
from discrete_lightning.design.pareto import ParetoFront
from discrete_lightning.design.problem import DesignProblem


@dataclass(frozen=True)
class Design:
    """One designed sequence.

    Attributes:
        sequence: its letters.
        score, total: of the oracle, and of the objective.
        edits: letters that differ from the template (0 when designed from nothing).
        calls: oracle evaluations up to the moment of finding; None where it was not noted (on a Pareto front).
        checks: constraint -> whether it is kept, checked anew from the letters.
        more: further columns: scores of single oracles, of a judge, on the Pareto front or not.
    """

    sequence: str
    score: float
    total: float
    edits: int
    calls: int | None
    checks: dict[str, bool]
    more: dict[str, float] = field(default_factory=dict)


def select(problem: DesignProblem, archive: Archive, count: int, distance: int = 1) -> list[Design]:
    """The best of an archive, best first, any two of which differ in at least `distance` letters.

    What breaks a constraint is left out: each is checked here again, from its letters.

    Args:
        problem: says what is checked.
        archive: what was found.
        count: at most so many.
        distance: at least 1.

    Raises:
        ValueError: if count or distance is not positive.
    """
    if count < 1 or distance < 1:
        raise ValueError(f"designs are selected by count >= 1 and distance >= 1, got {count} and {distance}")
    chosen: list[Design] = []
    kept: list[Tensor] = []
    for row in range(len(archive)):
        tokens = archive.tokens[row]
        if kept and int((torch.stack(kept) != tokens).sum(-1).min()) < distance:
            continue
        sequence = problem.alphabet.decode(tokens)
        checks = check(problem, sequence)
        if not all(checks.values()):
            continue
        kept.append(tokens)
        score, total, calls = float(archive.scores[row]), float(archive.totals[row]), int(archive.calls[row])
        names = getattr(problem.evaluator.oracle, "names", ()) if archive.components.shape[1] else ()
        more = dict(zip(names, archive.components[row].tolist(), strict=True))
        chosen.append(Design(sequence, score, total, int(problem.edits(tokens)), calls, checks, more))
        if len(chosen) == count:
            break
    return chosen


def on_front(problem: DesignProblem, front: ParetoFront) -> list[Design]:
    """The designs of a Pareto front, with each oracle's score, by the first one's."""
    oracle: Any = problem.evaluator.oracle
    found = []
    for tokens, values in zip(front.tokens, oracle.better(front.values), strict=True):  # twice the sign: as they were
        sequence = problem.alphabet.decode(tokens)
        checks = check(problem, sequence)
        if all(checks.values()):
            score = oracle.combine(values.unsqueeze(0))
            total = float(problem.total(score, tokens.unsqueeze(0)))
            scores = dict(zip(oracle.names, values.tolist(), strict=True))
            found.append(Design(sequence, float(score), total, int(problem.edits(tokens)), None, checks, scores))
    return sorted(found, key=lambda design: -design.more[oracle.names[0]])


def check(problem: DesignProblem, sequence: str) -> dict[str, bool]:
    """Each constraint, by name, and whether a sequence keeps it. Several of one class are numbered."""
    names = [type(constraint).__name__ for constraint in problem.constraints]
    labels = [f"{name}_{names[: i + 1].count(name)}" if names.count(name) > 1 else name for i, name in enumerate(names)]
    kept = [constraint.check(sequence, problem.alphabet) for constraint in problem.constraints]
    return dict(zip(labels, kept, strict=True))
