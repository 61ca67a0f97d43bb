"""Selection of designs: the best sequences found that differ from one another."""

from collections.abc import Sequence
from math import isfinite

import torch

from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.search.design import Design, design_of
from discrete_lightning.design.search.diverse_archive import hamming
from discrete_lightning.design.search.pareto import ParetoFront
from discrete_lightning.design.search.scored_sequences import ScoredSequences


def select(
    problem: DesignProblem,
    scored: Sequence[ScoredSequences],
    count: int,
    distance: int = 1,
    both_strands: bool = False,
    bound: float | None = None,
) -> list[Design]:
    """The best sequences, best first, any two of which differ in at least `distance` letters.

    With a `bound` not the best ones are chosen, but ones that differ as much as possible: first the best, then again and again
    the sequence of at most this total whose least distance from those chosen is greatest, the better one of several. This
    farthest-first traversal (Gonzalez 1985, https://doi.org/10.1016/0304-3975(85)90224-5) has at least half the least distance
    of the best batch (Ravi et al. 1994, https://doi.org/10.1287/opre.42.2.299).

    Every sequence is checked again from its letters; one that breaks a constraint is left out.

    Args:
        problem: defines the constraints and the alphabet.
        scored: tables of scored sequences; a sequence may be in several of them.
        count: the maximum number of designs.
        distance: at least 1.
        both_strands: whether a sequence must also differ by `distance` from the reverse complements of the others.
        bound: the greatest total of a diverse batch; where too few sequences have it, the next best ones fill it. None: the
            best sequences.

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
    places.sort(key=lambda place: place[0])
    if not places:
        return []
    tokens = torch.stack([each.tokens[row] for _, each, row in places])
    gaps = torch.full((len(places),), tokens.shape[1] + 1, device=tokens.device)  # from the nearest of the chosen
    usable = torch.ones_like(gaps, dtype=torch.bool)
    # sorted, so that a prefix of the places is within the bound
    pool = len(places) if bound is None else sum(total <= bound for total, *_ in places)
    chosen: list[tuple[float, Design]] = []
    while len(chosen) < count:
        far = usable & (gaps >= distance)
        if not far.any():
            break
        farthest = torch.where(far[:pool], gaps[:pool], -1) if bound is not None and far[:pool].any() else far.int()
        index = int(farthest.argmax())
        usable[index] = False
        total, each, row = places[index]
        design = design_of(problem, each, row)
        if not all(design.checks.values()):
            continue
        chosen.append((total, design))
        kept = [tokens[index]]
        if both_strands:
            other = problem.alphabet.encode(problem.alphabet.reverse_complement(design.sequence))
            kept.append(other.to(tokens.device))
        gaps = torch.minimum(gaps, hamming(torch.stack(kept), tokens).amin(0))
    return [design for _, design in sorted(chosen, key=lambda pair: pair[0])]


def designs_on_front(problem: DesignProblem, front: ParetoFront) -> list[Design]:
    """The designs of a Pareto front, those with the best value of the first oracle first."""
    order = front.values[:, 0].argsort(descending=True, stable=True).tolist()
    designs = [design_of(problem, front, row) for row in order]
    return [design for design in designs if all(design.checks.values())]
