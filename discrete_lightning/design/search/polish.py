"""Local search of the best sequences: edits proposed by gradients and accepted by the exact total.

The proposals come from the best sequence so far and from its `beam` best relatives (beam search): an edit that does not
improve the total alone may improve it after another edit, and every evaluation gives a gradient that shows it. The best 2, 4,
8 ... edits are also proposed together, since one evaluation of eight edits replaces eight rounds where effects add up. Only
sequences that satisfy the constraints are evaluated, and none twice from the same start. Restarts from a perturbed best
sequence are those of iterated local search (Lourenco et al. 2003, https://arxiv.org/abs/math/0102188).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import torch
from torch import Tensor

from discrete_lightning.design.evaluator import Evaluation
from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.search.beam import Beam, Scored
from discrete_lightning.design.search.edit_proposals import ranked_edits
from discrete_lightning.design.search.indel_proposals import partly_undone
from discrete_lightning.design.search.sequence_keys import sequence_keys
from discrete_lightning.functional._arguments import check_at_least

_TRIES = 20  # perturbations drawn until one satisfies the constraints and is new
_STUCK = 20  # restarts in a row without such a perturbation: there are no new sequences left


@dataclass(frozen=True)
class Polish:
    """Settings of the local search.

    Args:
        proposals: the number of edits evaluated in a round for each sequence.
        patience: the number of rounds in a row without improvement after which a sequence is finished (or restarted). Each
            round evaluates the next best proposals.
        beam: the number of relatives whose gradients propose edits; 1: the best sequence alone.
        sequences: the number of sequences that are polished, the best of all chains.
        restarts: how often the local search of a sequence is restarted from its perturbed best sequence.
        calls: the maximum number of oracle evaluations, over all sequences (the last round is cut); None: no maximum.
        restarted: how many of the sequences, the best ones, are restarted; None: all.

    Raises:
        ValueError: a number is not positive (restarts: negative).
    """

    proposals: int = 8
    patience: int = 3
    beam: int = 8
    sequences: int = 8
    restarts: int = 0
    calls: int | None = None
    restarted: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), 0 if field.name == "restarts" else 1
            if value is not None:
                check_at_least(least, **{field.name: value})


class PolishedRound(NamedTuple):
    """What a round evaluated: sequences (M, length), their evaluation, and the index of each one's beam, int64 (M,)."""

    tokens: Tensor
    evaluation: Evaluation
    beams: Tensor


class Polisher:
    """Polishes N sequences at once: each round evaluates one batch with the proposals of all beams.

    Args:
        polish: the settings.
        problem: the problem.
        until: the count of the problem's evaluations at which the polish ends; None: no such end.
    """

    def __init__(self, polish: Polish, problem: DesignProblem, until: int | None = None) -> None:
        self.polish, self.problem, self.until = polish, problem, until
        self.beams: list[Beam] = []
        self.start = 0  # evaluations before the polish

    def begin(
        self, tokens: Tensor, require_differentiable: bool = False, others: Sequence[Beam] = ()
    ) -> PolishedRound | None:
        """Evaluates the sequences to polish and makes a beam of each.

        Args:
            tokens: int64 (N, length), which satisfy all constraints.
            require_differentiable: raises an error for an oracle without gradient; otherwise such an oracle's edits are
                proposed in no particular order.
            others: beams of an earlier polish that are polished further, after these.

        Returns:
            what was evaluated, or None if no evaluations are left.
        """
        self.start = self.problem.evaluator.count
        tokens = tokens[: self.calls_left]
        if not len(tokens):
            self.beams = list(others)
            return None
        scored, evaluated = self._evaluate(tokens, list(range(len(tokens))), require_differentiable)
        rows = torch.arange(len(tokens), device=tokens.device).split(1)
        self.beams = [*(Beam(scored[row]) for row in rows), *others]
        return evaluated

    def _evaluate(
        self, tokens: Tensor, beams: list[int], require_differentiable: bool = False
    ) -> tuple[Scored, PolishedRound]:
        x = self.problem.one_hot(tokens)
        evaluation = self.problem.evaluator.evaluate(x, True, require_differentiable)
        assert evaluation.gradient is not None
        totals = self.problem.total(evaluation.scores, tokens)
        scored = Scored(tokens, evaluation.scores, totals, evaluation.gradient)
        return scored, PolishedRound(tokens, evaluation, torch.tensor(beams, device=tokens.device))

    def state(self) -> dict[str, Any]:
        """Everything that a checkpoint needs."""
        return {"start": self.start, "beams": [beam.state() for beam in self.beams]}

    def restore(self, state: dict[str, Any]) -> None:
        """Restores what `state` returned."""
        self.start = state["start"]
        self.beams = [Beam.restored(each, self.problem.device) for each in state["beams"]]

    def to(self, device: torch.device) -> None:
        """Moves the beams to a device."""
        if any(beam.members.tokens.device != device for beam in self.beams):
            self.restore(self.state())

    @property
    def begun(self) -> bool:
        """Whether `begin` was called."""
        return bool(self.beams)

    @property
    def calls_left(self) -> int | None:
        """The number of evaluations left; None if there is no maximum."""
        count = self.problem.evaluator.count
        ends = [] if self.polish.calls is None else [self.start + self.polish.calls]
        ends += [] if self.until is None else [self.until]
        return max(0, min(ends) - count) if ends else None

    @property
    def done(self) -> bool:
        """Whether all beams are finished, or no evaluations are left."""
        return self.calls_left == 0 or not any(map(self._active, self.beams))

    def _active(self, beam: Beam) -> bool:
        if beam.failures < self.polish.patience:
            return True
        return beam.restarts < self.polish.restarts and beam.stuck < _STUCK and self._among_best(beam)

    def _among_best(self, beam: Beam) -> bool:
        """Whether a beam is among those that are restarted. One for which no new sequence is found makes room."""
        if self.polish.restarted is None:
            return True
        better = [other for other in self.beams if other.stuck < _STUCK and other.best.totals[0] < beam.best.totals[0]]
        return len(better) < self.polish.restarted

    @torch.no_grad()
    def round(self, generator: torch.Generator | None = None) -> PolishedRound | None:
        """Evaluates one batch of proposals and takes the best into the beams.

        Args:
            generator: source of randomness of the perturbations.

        Returns:
            what was evaluated, or None if there was nothing to evaluate.
        """
        owners: list[int] = []
        rows: list[Tensor] = []
        restarted: set[int] = set()
        for i, beam in enumerate(self.beams):
            if not self._active(beam):
                continue
            proposals = self._proposals(beam) if beam.failures < self.polish.patience else []
            if not proposals:
                beam.failures = self.polish.patience
                if not self._active(beam) or (start := self._perturbed(beam, generator)) is None:
                    continue
                restarted.add(i)
                proposals = [start]
            owners += [i] * len(proposals)
            rows += proposals
        owners, rows = owners[: self.calls_left], rows[: self.calls_left]
        if not rows:
            return None
        scored, evaluated = self._evaluate(torch.stack(rows), owners)
        for i in dict.fromkeys(owners):
            beam, own = self.beams[i], scored[evaluated.beams == i]
            if i in restarted:
                beam.members, beam.failures = own, 0
            else:
                improved = bool(own.totals.min() < beam.members.totals[0])
                beam.failures = 0 if improved else beam.failures + 1
                beam.members = beam.members.merged(own, self.polish.beam)
            beam.update_best()
        return evaluated

    def _perturbed(self, beam: Beam, generator: torch.Generator | None) -> Tensor | None:
        """The beam's best with half of its edits undone at random; without a template, with an eighth of its letters new.

        Of few edits there are few halves: when these were tried, some letters are new as well, more of them with each try.
        """
        problem, best = self.problem, beam.best.tokens[0]
        beam.restarts += 1
        for attempt in range(_TRIES):
            chance = torch.rand(problem.length, dtype=torch.float32, generator=generator, device=best.device)
            drawn = torch.multinomial(problem.allowed.float(), 1, generator=generator).squeeze(1)
            if problem.template is None:
                row = torch.where(chance < max(0.125, 1.5 / problem.length), drawn, best)
            else:
                if problem.edit_distance is not None:
                    row = partly_undone(problem, best, (chance < 0.5).tolist())
                else:
                    row = torch.where(chance < 0.5, problem.template, best)
                if attempt >= _TRIES // 2:
                    row = torch.where(chance < (attempt - _TRIES // 2 + 2) / problem.length, drawn, row)
            (key,) = sequence_keys(row.unsqueeze(0))
            if bool(problem.feasible(row)) and key not in beam.seen:
                beam.seen.add(key)
                beam.stuck = 0
                return row
        beam.stuck += 1
        return None

    def _proposals(self, beam: Beam) -> list[Tensor]:
        """The best proposals that are new and satisfy the constraints."""
        found: list[Tensor] = []
        for batch in ranked_edits(self.problem, beam.members, 8 * self.polish.proposals):
            feasible = batch[self.problem.feasible(batch)]
            for candidate, key in zip(feasible, sequence_keys(feasible), strict=True):
                if key not in beam.seen:
                    beam.seen.add(key)
                    found.append(candidate)
                    if len(found) == self.polish.proposals:
                        return found
        return found
