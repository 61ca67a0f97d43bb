"""The best different sequences of a whole search: what designs are chosen from."""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.nn import Float32State


class Archive(Float32State):
    """The best `capacity` sequences that keep all constraints, each once, best first.

    Attributes:
        tokens: int64 (capacity, length).
        scores, totals: float32 (capacity,), exact; totals are +inf in rows that are still empty.
        calls: int64 (capacity,), evaluations of the oracle up to the moment of finding.
        components: float32 (capacity, oracles), the scores of each of several oracles.
    """

    tokens: Tensor
    scores: Tensor
    totals: Tensor
    calls: Tensor
    components: Tensor

    def __init__(self, capacity: int, length: int, oracles: int = 0) -> None:
        super().__init__()
        self.register_buffer("tokens", torch.zeros(capacity, length, dtype=torch.int64))
        self.register_buffer("scores", torch.full((capacity,), torch.nan))
        self.register_buffer("totals", torch.full((capacity,), torch.inf))
        self.register_buffer("calls", torch.zeros(capacity, dtype=torch.int64))
        self._order: list[bytes | None] = []
        self._names: set[bytes | None] = set()
        self.register_buffer("components", torch.zeros(capacity, oracles))

    def __len__(self) -> int:
        return int(self.totals.isfinite().sum())

    def clear(self) -> None:
        """Forgets everything."""
        self.totals.fill_(torch.inf)
        self._order = []

    def offer(self, problem: DesignProblem, tokens: Tensor, scores: Tensor, components: Tensor | None = None) -> None:
        """Takes in what is among the best and keeps all constraints.

        Args:
            problem: says what is better.
            tokens: (N, length).
            scores: exact scores (N,).
            components: scores (N, oracles) of each of several oracles.
        """
        totals = problem.total(scores, tokens).float()
        good = (totals < self.totals[-1]).nonzero().flatten()
        if not len(good):
            return
        good = good[problem.feasible(tokens[good])]
        known = self._known()
        fresh = {key: i for i, key in zip(good.tolist(), _keys(tokens[good]), strict=True) if key not in known}
        if not fresh:
            return
        good = torch.tensor(list(fresh.values()), device=tokens.device)
        totals = torch.cat([self.totals, totals[good]])
        order = totals.argsort(stable=True)[: len(self.totals)]
        calls = problem.evaluator.evaluations.expand(len(good))
        self.tokens.copy_(torch.cat([self.tokens, tokens[good]])[order])
        self.scores.copy_(torch.cat([self.scores, scores[good].float()])[order])
        self.calls.copy_(torch.cat([self.calls, calls])[order])
        if components is not None and self.components.shape[1]:
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
            self._order = [*_keys(self.tokens[:filled]), *[None] * (len(self.tokens) - filled)]
            self._names = set(self._order)
        return self._names

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._order = []


def _keys(tokens: Tensor) -> list[bytes]:
    return [row.tobytes() for row in tokens.cpu().numpy()]
