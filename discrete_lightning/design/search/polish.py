"""Exact polish: edits proposed by gradients, accepted on the true discrete objective; edits that do not pay are undone.

Proposals rank every single edit by the total that the gradient predicts for it (Grathwohl et al. 2021,
https://arxiv.org/abs/2102.04509),

    predicted(l, k) = goal.loss(score + g[l, k] - g[l, x_l]) + edit_weight * edits(l, k),

of the best sequence so far and of its `beam` best relatives: an edit that does not pay alone may pay after another one, and
every evaluation brings a gradient that shows it. The best 2, 4, 8 ... edits are proposed together too, since one evaluation of
eight edits replaces eight rounds where effects add up. Only what keeps the constraints is evaluated, nothing twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.design.problem import DesignProblem

_TRIES = 20


@dataclass(frozen=True)
class Polish:
    """How sequences are polished.

    Args:
        proposals: edits evaluated a round for each sequence.
        patience: rounds in a row without a gain before a sequence is given up; each looks at the next best proposals.
        beam: sequences whose gradients propose edits: the best one alone (1), or its best relatives, too.
        sequences: how many are polished, the best of all chains.
        shakes: how often a sequence that nothing improves any more is shaken and polished anew, from its best (iterated local
            search, Lourenco et al. 2003, https://arxiv.org/abs/math/0102188).
        calls: oracle evaluations at most, over all sequences (the last round is cut); None: until no proposal helps.

    Raises:
        ValueError: if a number is not positive (shakes: negative).
    """

    proposals: int = 8
    patience: int = 3
    beam: int = 8
    sequences: int = 8
    shakes: int = 0
    calls: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), 0 if field.name == "shakes" else 1
            if value is not None and value < least:
                raise ValueError(f"Polish: {field.name} must be at least {least}, got {value}")


@dataclass
class _Nodes:
    """Evaluated sequences, best first: tokens (f, length), scores and totals (f,), slopes (f, length, letters)."""

    tokens: Tensor
    scores: Tensor
    totals: Tensor
    slopes: Tensor

    def __getitem__(self, index: Tensor) -> "_Nodes":
        return _Nodes(self.tokens[index], self.scores[index], self.totals[index], self.slopes[index])

    def merged(self, other: "_Nodes", beam: int) -> "_Nodes":
        """The best `beam` of both."""
        both = _Nodes(*(torch.cat([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))
        return both[both.totals.argsort(stable=True)[:beam]]


class _Walker:
    """One sequence being polished: its beam, what it has tried, and the best it has met."""

    def __init__(self, nodes: _Nodes) -> None:
        self.nodes, self.best = nodes, nodes
        self.seen = set(map(_key, nodes.tokens))
        self.failures = self.shaken = 0

    def improve(self) -> None:
        """Notes the best of the beam, if it is better than all before."""
        if self.nodes.totals[0] < self.best.totals[0]:
            self.best = self.nodes[torch.zeros(1, dtype=torch.int64, device=self.nodes.totals.device)]

    def state(self) -> dict[str, Any]:
        return {
            "nodes": _tensors(self.nodes),
            "best": _tensors(self.best),
            "seen": torch.frombuffer(bytearray(b"".join(sorted(self.seen))), dtype=torch.uint8),
            "failures": self.failures,
            "shaken": self.shaken,
        }

    @classmethod
    def restored(cls, state: dict[str, Any], device: torch.device) -> "_Walker":
        walker = cls(_Nodes(*(each.to(device) for each in state["nodes"])))
        walker.best = _Nodes(*(each.to(device) for each in state["best"]))
        seen = state["seen"].cpu().numpy().tobytes()
        walker.seen = {seen[i : i + _DIGEST] for i in range(0, len(seen), _DIGEST)}
        walker.failures, walker.shaken = state["failures"], state["shaken"]
        return walker


class Polisher:
    """Polishes N sequences together: one batch of proposals of all of them a round.

    Args:
        polish: how.
        problem: the problem.

    Attributes:
        begun: whether there are sequences to polish yet.
        evaluated: sequences (M, length) of the last round, their exact scores (M,), and whose they are, int64 (M,); None if
            there were none.
    """

    evaluated: tuple[Tensor, Tensor, Tensor] | None = None

    def __init__(self, polish: Polish, problem: DesignProblem) -> None:
        self.polish, self.problem = polish, problem
        self.walkers: list[_Walker] = []
        self.start = 0

    def begin(self, tokens: Tensor, gradient: bool = False) -> None:
        """Evaluates the sequences to polish.

        Args:
            tokens: int64 (N, length), which keep all constraints.
            gradient: refuses an oracle without gradient; else edits are proposed in no particular order.
        """
        self.start = self.problem.evaluator.count
        nodes = self._evaluate(tokens[: self.polish.calls], list(range(len(tokens)))[: self.polish.calls], gradient)
        self.walkers = [_Walker(nodes[torch.tensor([i], device=tokens.device)]) for i in range(len(nodes.tokens))]

    def _evaluate(self, tokens: Tensor, walkers: list[int], gradient: bool = False) -> _Nodes:
        scores, slopes = self.problem.evaluator.score_and_gradient(self.problem.one_hot(tokens), gradient)
        self.evaluated = tokens, scores, torch.tensor(walkers, device=tokens.device)
        return _Nodes(tokens, scores, self.problem.total(scores, tokens), slopes)

    def state(self) -> dict[str, Any]:
        """All that goes on in it, for a checkpoint."""
        return {"start": self.start, "walkers": [walker.state() for walker in self.walkers]}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what `state` gave."""
        self.start = state["start"]
        self.walkers = [_Walker.restored(each, self.problem.device) for each in state["walkers"]]

    def to(self, device: torch.device) -> None:
        """Moves it."""
        if any(walker.nodes.tokens.device != device for walker in self.walkers):
            self.restore(self.state())

    @property
    def begun(self) -> bool:
        return bool(self.walkers)

    @property
    def tokens(self) -> Tensor:
        """The best of each, (N, length)."""
        return torch.cat([walker.best.tokens for walker in self.walkers])

    @property
    def scores(self) -> Tensor:
        """Exact scores (N,)."""
        return torch.cat([walker.best.scores for walker in self.walkers])

    @property
    def totals(self) -> Tensor:
        """Exact totals (N,)."""
        return torch.cat([walker.best.totals for walker in self.walkers])

    @property
    def room(self) -> int | None:
        """Evaluations that are left; None if they are not limited."""
        spent = self.problem.evaluator.count - self.start
        return None if self.polish.calls is None else max(0, self.polish.calls - spent)

    @property
    def done(self) -> bool:
        """Whether no sequence has anything left to try, or the calls are spent."""
        return self.room == 0 or not any(map(self._active, self.walkers))

    def _active(self, walker: _Walker) -> bool:
        return walker.failures < self.polish.patience or walker.shaken < self.polish.shakes

    @torch.no_grad()
    def round(self, generator: torch.Generator | None = None) -> None:
        """Evaluates one batch of proposals of every sequence and takes the best into its beam.

        Args:
            generator: source of randomness, for shakes.
        """
        owners: list[int] = []
        rows: list[Tensor] = []
        fresh: set[int] = set()
        for i, walker in enumerate(self.walkers):
            if not self._active(walker):
                continue
            proposals = self._proposals(walker) if walker.failures < self.polish.patience else []
            if not proposals:
                walker.failures = self.polish.patience
                if not self._active(walker) or (start := self._shake(walker, generator)) is None:
                    continue
                fresh.add(i)
                proposals = [start]
            owners += [i] * len(proposals)
            rows += proposals
        owners, rows = owners[: self.room], rows[: self.room]
        if not rows:
            self.evaluated = None
            return
        nodes = self._evaluate(torch.stack(rows), owners)
        for i in dict.fromkeys(owners):
            walker, mine = self.walkers[i], nodes[torch.tensor(owners, device=nodes.tokens.device) == i]
            if i in fresh:
                walker.nodes, walker.failures = mine, 0
            else:
                gained = bool(mine.totals.min() < walker.nodes.totals[0])
                walker.failures = 0 if gained else walker.failures + 1
                walker.nodes = walker.nodes.merged(mine, self.polish.beam)
            walker.improve()

    def _shake(self, walker: _Walker, generator: torch.Generator | None) -> Tensor | None:
        """The walker's best with half of its edits undone, at random; from nothing, with an eighth of its letters new."""
        problem, best = self.problem, walker.best.tokens[0]
        walker.shaken += 1
        for _ in range(_TRIES):
            chance = torch.rand(problem.length, generator=generator, device=best.device)
            if problem.template is not None:
                row = torch.where(chance < 0.5, problem.template, best)
            else:
                drawn = torch.multinomial(problem.allowed.float(), 1, generator=generator).squeeze(1)
                row = torch.where(chance < max(0.125, 1.5 / problem.length), drawn, best)
            if bool(problem.feasible(row)) and (key := _key(row)) not in walker.seen:
                walker.seen.add(key)
                return row
        return None

    def _proposals(self, walker: _Walker) -> list[Tensor]:
        """The best proposals for a sequence that were not tried yet and keep the constraints."""
        found: list[Tensor] = []
        for batch in self._ranked(walker.nodes):
            for candidate in batch[self.problem.feasible(batch)]:
                if (key := _key(candidate)) not in walker.seen:
                    walker.seen.add(key)
                    found.append(candidate)
                    if len(found) == self.polish.proposals:
                        return found
        return found

    def _ranked(self, nodes: _Nodes) -> Iterator[Tensor]:
        """Candidates, the most promising first, in batches."""
        problem, tokens = self.problem, nodes.tokens
        change = nodes.slopes - nodes.slopes.gather(-1, tokens.unsqueeze(-1))
        edits = _edit_change(problem, tokens)
        paid = problem.start.edit_weight * (edits + problem.edits(tokens).view(-1, 1, 1))
        predicted = problem.goal.loss(nodes.scores.view(-1, 1, 1) + change) + paid
        predicted = predicted.masked_fill(~problem.allowed, torch.inf).scatter(-1, tokens.unsqueeze(-1), torch.inf)
        yield from self._combined(nodes, predicted[0], change[0], edits[0])
        flat = predicted.flatten().nan_to_num(torch.inf)
        width, letters = flat.numel() // len(tokens), len(problem.alphabet)
        taken, size = 0, 8 * self.polish.proposals
        while taken < int(flat.isfinite().sum()):
            size = min(size, flat.numel())
            values, order = flat.topk(size, largest=False)
            order = order[taken:][values[taken:].isfinite()]
            place = order % width
            batch = tokens[order // width].clone()
            batch[torch.arange(len(order), device=order.device), place // letters] = place % letters
            yield batch
            taken, size = size, 4 * size

    def _combined(self, nodes: _Nodes, predicted: Tensor, change: Tensor, edits: Tensor) -> Iterator[Tensor]:
        """The best edits of different positions, 2, 4, 8 ... at once, while the prediction says that more is better."""
        problem, tokens = self.problem, nodes.tokens[0]
        weight = problem.start.edit_weight
        best, letter = predicted.min(-1)
        order = best.argsort(stable=True)
        order = order[best[order] < nodes.totals[0]]
        gains = change.gather(-1, letter.unsqueeze(-1)).squeeze(-1)[order].cumsum(0)
        costs = weight * edits.gather(-1, letter.unsqueeze(-1)).squeeze(-1)[order].cumsum(0)
        totals = problem.goal.loss(nodes.scores[0] + gains) + weight * problem.edits(tokens) + costs
        rows, size = [], 2
        while size <= len(order) and totals[size - 1] < totals[size // 2 - 1]:
            row = tokens.clone()
            row[order[:size]] = letter[order[:size]]
            rows.append(row)
            size *= 2
        if rows:
            yield torch.stack(rows[::-1])


def _edit_change(problem: DesignProblem, tokens: Tensor) -> Tensor:
    """By how much each single edit changes the number of edits, (f, length, letters)."""
    if problem.template is None:
        return torch.zeros(*tokens.shape, len(problem.alphabet), dtype=torch.int64, device=tokens.device)
    now = (tokens != problem.template).long().unsqueeze(-1)
    after = torch.ones(*tokens.shape, len(problem.alphabet), dtype=torch.int64, device=tokens.device)
    return after.scatter(-1, problem.template.expand_as(tokens).unsqueeze(-1), 0) - now


_DIGEST = 16


def _key(tokens: Tensor) -> bytes:
    """A short name of a sequence: long ones would fill memory and checkpoints."""
    return blake2b(tokens.cpu().numpy().tobytes(), digest_size=_DIGEST).digest()


def _tensors(nodes: _Nodes) -> list[Tensor]:
    return [getattr(nodes, each.name) for each in fields(nodes)]
