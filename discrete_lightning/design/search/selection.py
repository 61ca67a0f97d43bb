"""Selection of designs: the best sequences found that differ from one another."""

from collections.abc import Sequence
from math import isfinite

import torch
from torch import Tensor

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

    With a `bound` the distance is made as large as possible: it is the largest, by bisection, for which `count` designs are
    found among the sequences of at most this total. It is at least half of the least distance of the best batch: if best first
    finds fewer than `count` at distance d, every sequence is nearer than d to one of those, so of any `count` sequences two are
    nearer than 2 d to one another (Gonzalez 1985, https://doi.org/10.1016/0304-3975(85)90224-5; as a batch of greatest
    dispersion, Ravi et al. 1994, https://doi.org/10.1287/opre.42.2.299).

    Every sequence is checked again from its letters; one that breaks a constraint is left out.

    Args:
        problem: defines the constraints and the alphabet.
        scored: tables of scored sequences; a sequence may be in several of them.
        count: the maximum number of designs.
        distance: at least 1.
        both_strands: whether a sequence must also differ by `distance` from the reverse complements of the others.
        bound: the greatest total of a diverse batch. Where fewer than `count` sequences that differ by `distance` have it,
            the next best ones fill the batch. None: the best sequences.

    Raises:
        ValueError: count or distance is not positive, or the alphabet has no complements.
    """
    if count < 1 or distance < 1:
        raise ValueError(f"designs are selected by count >= 1 and distance >= 1, got {count} and {distance}")
    if both_strands and not problem.alphabet.complements:
        raise ValueError(f"the letters {problem.alphabet.letters!r} have no second strand: leave both_strands out")
    ranked = _Ranked(problem, scored, both_strands)
    if bound is not None:
        pool = sum(total <= bound for total in ranked.totals)
        low, high = distance - 1, problem.length + 1
        chosen: list[Design] = []
        while high - low > 1:
            middle = (low + high) // 2 if chosen else distance
            found = ranked.best_first(count, middle, pool)
            if len(found) == count:
                low, chosen = middle, found
            else:
                high = middle
        if chosen:
            return chosen
    return ranked.best_first(count, distance, len(ranked.totals))


class _Ranked:
    """The sequences of some tables by their totals, and how much they differ; both are computed where they are needed."""

    def __init__(self, problem: DesignProblem, scored: Sequence[ScoredSequences], both_strands: bool) -> None:
        places = [
            (total, each, row) for each in scored for row, total in enumerate(each.totals.tolist()) if isfinite(total)
        ]
        self.problem, self.both_strands = problem, both_strands
        self.places = sorted(places, key=lambda place: place[0])
        self.totals = [total for total, *_ in self.places]
        self.tokens = torch.stack([each.tokens[row] for _, each, row in self.places]) if places else None
        self._designs: dict[int, Design] = {}
        self._gaps: dict[int, Tensor] = {}

    def best_first(self, count: int, distance: int, pool: int) -> list[Design]:
        """At most `count` of the best `pool` sequences, each of which differs by `distance` from those before it."""
        chosen: list[Design] = []
        near = torch.zeros(len(self.places), dtype=torch.bool)
        for index in range(pool):
            if near[index] or not all(self._design(index).checks.values()):
                continue
            chosen.append(self._design(index))
            if len(chosen) == count:
                break
            near |= self._gap(index) < distance
        return chosen

    def _design(self, index: int) -> Design:
        if index not in self._designs:
            _, table, row = self.places[index]
            self._designs[index] = design_of(self.problem, table, row)
        return self._designs[index]

    def _gap(self, index: int) -> Tensor:
        """The least number of letters in which each sequence differs from this one, or from its other strand, (n,)."""
        if index not in self._gaps:
            assert self.tokens is not None
            forms = [self.tokens[index]]
            if self.both_strands:
                alphabet = self.problem.alphabet
                other = alphabet.encode(alphabet.reverse_complement(self._design(index).sequence))
                forms.append(other.to(self.tokens.device))
            self._gaps[index] = hamming(torch.stack(forms), self.tokens).amin(0).cpu()
        return self._gaps[index]


def designs_on_front(problem: DesignProblem, front: ParetoFront) -> list[Design]:
    """The designs of a Pareto front, those with the best value of the first oracle first."""
    order = front.values[:, 0].argsort(descending=True, stable=True).tolist()
    designs = [design_of(problem, front, row) for row in order]
    return [design for design in designs if all(design.checks.values())]
