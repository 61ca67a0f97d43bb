"""Exact polish: single edits proposed by a gradient, accepted on the true discrete objective; edits that do not pay are undone.

Proposals rank every single edit by the total that the gradient predicts for it (Grathwohl et al. 2021,
https://arxiv.org/abs/2102.04509),

    predicted(l, k) = goal.loss(score + g[l, k] - g[l, x_l]) + edit_weight * edits(l, k),

and combine the best 2, 4, 8 ... of them, since one oracle evaluation of eight edits at once replaces eight rounds where
effects add up. Only what keeps the constraints is evaluated, nothing twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.design.problem import DesignProblem


@dataclass(frozen=True)
class Polish:
    """How sequences are polished.

    Args:
        proposals: edits evaluated a round for each sequence.
        patience: rounds in a row without a gain before a sequence is given up; each looks at the next best proposals.
        combine: whether to propose the best 2, 4, 8 ... edits at once.
        sequences: how many are polished, the best of all chains.
        calls: oracle evaluations at most, over all sequences; None: until no proposal helps.

    Raises:
        ValueError: if a number is not positive.
    """

    proposals: int = 8
    patience: int = 3
    combine: bool = True
    sequences: int = 8
    calls: int | None = None

    def __post_init__(self) -> None:
        if min(self.proposals, self.patience, self.sequences, 1 if self.calls is None else self.calls) < 1:
            raise ValueError(f"every number of {self} must be at least 1")


class Polisher:
    """Polishes N sequences together: one batch of proposals of all of them a round.

    Args:
        polish: how.
        problem: the problem.
        tokens: int64 (N, length), which keep all constraints.

    Attributes:
        tokens, scores, totals: the present sequences (N, length), and their exact scores and totals (N,).
        evaluated: sequences (M, length) of the last round, and their exact scores (M,).
    """

    def __init__(self, polish: Polish, problem: DesignProblem, tokens: Tensor) -> None:
        self.polish, self.problem, self.tokens = polish, problem, tokens.clone()
        self.start = problem.evaluator.count
        self.scores, self.slope = problem.evaluator.score_and_gradient(problem.one_hot(self.tokens))
        self.totals = problem.total(self.scores, self.tokens)
        self.evaluated = self.tokens.clone(), self.scores.clone()
        self.seen = [{_key(row)} for row in self.tokens]
        self.failures = [0] * len(self.tokens)

    @property
    def done(self) -> bool:
        """Whether no sequence has anything left to try."""
        spent = self.problem.evaluator.count - self.start
        within = self.polish.calls is None or spent < self.polish.calls
        return not within or all(each >= self.polish.patience for each in self.failures)

    @torch.no_grad()
    def round(self) -> None:
        """Evaluates one batch of proposals and accepts the best of each sequence, if it is better."""
        owners: list[int] = []
        rows: list[Tensor] = []
        for walker, failures in enumerate(self.failures):
            if failures >= self.polish.patience:
                continue
            proposals = self._proposals(walker)
            if not proposals:
                self.failures[walker] = self.polish.patience
            owners += [walker] * len(proposals)
            rows += proposals
        if not rows:
            return
        candidates = torch.stack(rows)
        scores, slopes = self.problem.evaluator.score_and_gradient(self.problem.one_hot(candidates))
        self.evaluated = candidates, scores
        totals = self.problem.total(scores, candidates)
        owner = torch.tensor(owners, device=totals.device)
        for walker in sorted(set(owners)):
            mine = (owner == walker).nonzero().flatten()
            best = mine[totals[mine].argmin()]
            if totals[best] < self.totals[walker]:
                self.tokens[walker], self.scores[walker], self.totals[walker] = candidates[best], scores[best], totals[best]
                self.slope[walker] = slopes[best]
                self.failures[walker] = 0
            else:
                self.failures[walker] += 1

    def _proposals(self, walker: int) -> list[Tensor]:
        """The best proposals for a sequence that were not tried yet and keep the constraints."""
        found: list[Tensor] = []
        seen = self.seen[walker]
        for batch in self._ranked(walker):
            feasible = self.problem.feasible(batch)
            for candidate in batch[feasible]:
                key = _key(candidate)
                if key not in seen:
                    seen.add(key)
                    found.append(candidate)
                    if len(found) == self.polish.proposals:
                        return found
        return found

    def _ranked(self, walker: int) -> Iterator[Tensor]:
        tokens, problem = self.tokens[walker], self.problem
        slope = self.slope[walker]
        change = slope - slope.gather(-1, tokens.unsqueeze(-1))
        edits = problem.edits(tokens) + _edit_change(problem, tokens)
        predicted = problem.goal.loss(self.scores[walker] + change) + problem.start.edit_weight * edits
        predicted = predicted.masked_fill(~problem.allowed, torch.inf).scatter(-1, tokens.unsqueeze(-1), torch.inf)
        order = predicted.flatten().argsort(stable=True)
        order = order[predicted.flatten()[order].isfinite()]
        letters = len(problem.alphabet)
        if self.polish.combine:
            yield from self._combined(walker, predicted, change, edits)
        for part in order.split(4 * self.polish.proposals):
            batch = tokens.repeat(len(part), 1)
            batch[torch.arange(len(part), device=part.device), part // letters] = part % letters
            yield batch

    def _combined(self, walker: int, predicted: Tensor, change: Tensor, edits: Tensor) -> Iterator[Tensor]:
        """The best edits of different positions, 2, 4, 8 ... at once, where the prediction says that more is better."""
        tokens, problem = self.tokens[walker], self.problem
        best, letter = predicted.min(-1)
        order = best.argsort(stable=True)
        order = order[best[order] < self.totals[walker]]
        weight = problem.start.edit_weight
        rows = []
        index = torch.arange(len(tokens), device=tokens.device)
        gains = change[index, letter]
        cost = (edits[index, letter] - problem.edits(tokens)) * weight
        score, paid = self.scores[walker], weight * problem.edits(tokens)
        size = 2
        totals = problem.goal.loss(score + gains[order].cumsum(0)) + paid + cost[order].cumsum(0)
        while size <= len(order):
            if totals[size - 1] < totals[size // 2 - 1]:
                row = tokens.clone()
                row[order[:size]] = letter[order[:size]]
                rows.append(row)
            size *= 2
        if rows:
            yield torch.stack(rows[::-1])


def _edit_change(problem: DesignProblem, tokens: Tensor) -> Tensor:
    """By how much each single edit changes the number of edits, (length, letters)."""
    if problem.template is None:
        return torch.zeros(len(tokens), len(problem.alphabet), dtype=torch.int64, device=tokens.device)
    now = (tokens != problem.template).long().unsqueeze(-1)
    after = torch.ones(len(tokens), len(problem.alphabet), dtype=torch.int64, device=tokens.device)
    return after.scatter(-1, problem.template.unsqueeze(-1), 0) - now


def _key(tokens: Tensor) -> bytes:
    return tokens.cpu().numpy().tobytes()
