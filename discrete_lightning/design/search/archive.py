"""The best different sequences of a whole search: what designs are chosen from."""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.search.scored import Scored, row_keys


class Archive(Scored):
    """The best sequences that keep all constraints, each once, best first.

    Args:
        capacity: how many.
        length: of the sequences.
        columns: of the oracle.
    """

    def __init__(self, capacity: int, length: int, columns: int = 0) -> None:
        super().__init__(capacity, length, columns)
        self._order: list[bytes | None] = []
        self._names: set[bytes | None] = set()

    def __len__(self) -> int:
        return int(self.found.sum())

    def clear(self) -> None:
        super().clear()
        self._order = []

    def offer(self, problem: DesignProblem, tokens: Tensor, scores: Tensor, components: Tensor | None = None) -> None:
        """Takes in what is among the best and keeps all constraints.

        Args:
            problem: says what is better.
            tokens: (N, length).
            scores: exact scores (N,).
            components: the oracle's columns (N, columns), if it has some.
        """
        totals = problem.total(scores, tokens).float()
        good = (totals < self.totals[-1]).nonzero().flatten()
        if not len(good):
            return
        good = good[problem.feasible(tokens[good])]
        known = self._known()
        fresh = {key: i for i, key in zip(good.tolist(), row_keys(tokens[good]), strict=True) if key not in known}
        if not fresh:
            return
        good = torch.tensor(list(fresh.values()), device=tokens.device)
        totals = torch.cat([self.totals, totals[good]])
        order = totals.argsort(stable=True)[: len(self.totals)]
        calls = problem.evaluator.evaluations.expand(len(good))
        self.tokens.copy_(torch.cat([self.tokens, tokens[good]])[order])
        self.scores.copy_(torch.cat([self.scores, scores[good].float()])[order])
        self.calls.copy_(torch.cat([self.calls, calls])[order])
        if components is not None:
            self.components.copy_(torch.cat([self.components, components[good].float()])[order])
        self.totals.copy_(totals[order])
        known.update(fresh)
        # what fell off the end, and what was never taken
        lost = order.new_ones(len(totals), dtype=torch.bool).index_fill_(0, order, False).nonzero().flatten()
        names = [*self._order, *fresh]
        known.difference_update(names[index] for index in lost.tolist())
        self._order = [names[index] for index in order.tolist()]

    def _known(self) -> set[bytes | None]:
        """The sequences in the archive; `_order` has them row by row, None where a row is empty."""
        if not self._order:
            filled = len(self)
            self._order = [*row_keys(self.tokens[:filled]), *[None] * (len(self.tokens) - filled)]
            self._names = set(self._order)
        return self._names

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._order = []
