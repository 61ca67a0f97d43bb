"""Selection of designs: the best sequences found that differ from one another."""

from collections.abc import Sequence
from math import isfinite

import torch
from torch import Tensor

from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.search.design import Design, design_of
from discrete_lightning.design.search.pareto import ParetoFront
from discrete_lightning.design.search.scored_sequences import ScoredSequences


def select(
    problem: DesignProblem,
    scored: Sequence[ScoredSequences],
    count: int,
    distance: int = 1,
    both_strands: bool = False,
) -> list[Design]:
    """The best sequences, best first, any two of which differ in at least `distance` letters.

    Every sequence is checked again from its letters; one that breaks a constraint is left out.

    Args:
        problem: defines the constraints and the alphabet.
        scored: tables of scored sequences; a sequence may be in several of them.
        count: the maximum number of designs.
        distance: at least 1.
        both_strands: whether a sequence must also differ by `distance` from the reverse complements of the others.

    Raises:
        ValueError: count or distance is not positive, or the alphabet has no complements.
    """
    if count < 1 or distance < 1:
        raise ValueError(f"designs are selected by count >= 1 and distance >= 1, got {count} and {distance}")
    if both_strands and not problem.alphabet.complements:
        raise ValueError(f"the letters {problem.alphabet.letters!r} have no second strand: leave both_strands out")
    places = [
        (total, each, row) for each in scored for row, total in enumerate(each.totals.tolist()) if isfinite(total)
    ]
    chosen: list[Design] = []
    kept: list[Tensor] = []
    for _, each, row in sorted(places, key=lambda place: place[0]):
        tokens = each.tokens[row]
        if kept and int((torch.stack(kept) != tokens).sum(-1).min()) < distance:
            continue
        design = design_of(problem, each, row)
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


def designs_on_front(problem: DesignProblem, front: ParetoFront) -> list[Design]:
    """The designs of a Pareto front, those with the best value of the first oracle first."""
    order = front.values[:, 0].argsort(descending=True, stable=True).tolist()
    designs = [design_of(problem, front, row) for row in order]
    return [design for design in designs if all(design.checks.values())]
