"""The best different sequences of a whole search, over all chains."""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.design.evaluator import Evaluation
from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.search.scored_sequences import ScoredSequences
from discrete_lightning.design.search.sequence_keys import sequence_keys


class BestOverall(ScoredSequences):
    """The best sequences that satisfy all constraints, without repeats, best first.

    Args:
        capacity: the maximum number of sequences.
        length: of the sequences.
        columns: the number of the oracle's columns.
    """

    def __init__(self, capacity: int, length: int, columns: int = 0) -> None:
        super().__init__(capacity, length, columns)
        self._row_keys: list[bytes | None] = []  # None: the row is empty; an empty list: not computed yet
        self._keys: set[bytes | None] = set()

    def __len__(self) -> int:
        return int(self.filled.sum())

    def clear(self) -> None:
        super().clear()
        self._row_keys = []

    def update(self, problem: DesignProblem, tokens: Tensor, evaluation: Evaluation) -> None:
        """Adds the sequences that are among the best and satisfy all constraints.

        Args:
            problem: defines the totals and the constraints.
            tokens: (N, length).
            evaluation: exact scores (N,) and, of a Composite oracle, columns (N, columns).
        """
        scores, components = evaluation.scores.float(), evaluation.components
        totals = problem.total(evaluation.scores, tokens).float()
        good = (totals < self.totals[-1]).nonzero().flatten()
        if not len(good):
            return
        good = good[problem.feasible(tokens[good])]
        known = self._known_keys()
        new = {key: i for i, key in zip(good.tolist(), sequence_keys(tokens[good]), strict=True) if key not in known}
        if not new:
            return
        good = torch.tensor(list(new.values()), device=tokens.device)
        totals = torch.cat([self.totals, totals[good]])
        order = totals.argsort(stable=True)[: len(self.totals)]
        calls = problem.evaluator.evaluations.expand(len(good))
        self.tokens.copy_(torch.cat([self.tokens, tokens[good]])[order])
        self.scores.copy_(torch.cat([self.scores, scores[good]])[order])
        self.calls.copy_(torch.cat([self.calls, calls])[order])
        if components is not None:
            self.components.copy_(torch.cat([self.components, components[good].float()])[order])
        self.totals.copy_(totals[order])
        known.update(new)
        # rows that were dropped, and new sequences that were not good enough
        lost = order.new_ones(len(totals), dtype=torch.bool).index_fill_(0, order, False).nonzero().flatten()
        keys = [*self._row_keys, *new]
        known.difference_update(keys[index] for index in lost.tolist())
        self._row_keys = [keys[index] for index in order.tolist()]

    def _known_keys(self) -> set[bytes | None]:
        if not self._row_keys:
            filled = len(self)
            self._row_keys = [*sequence_keys(self.tokens[:filled]), *[None] * (len(self.tokens) - filled)]
            self._keys = set(self._row_keys)
        return self._keys

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._row_keys = []
