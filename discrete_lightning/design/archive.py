"""The best different sequences of a whole search: what designs are chosen from."""

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
        self.register_buffer("components", torch.zeros(capacity, oracles))

    def __len__(self) -> int:
        return int(self.totals.isfinite().sum())

    def clear(self) -> None:
        """Forgets everything."""
        self.totals.fill_(torch.inf)

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
        calls = problem.evaluator.evaluations.expand(len(good))
        parts = self.components[:0] if components is None else components[good]
        components = torch.cat([self.components, parts.float()])
        tokens = torch.cat([self.tokens, tokens[good]])
        scores, totals = torch.cat([self.scores, scores[good].float()]), torch.cat([self.totals, totals[good]])
        calls = torch.cat([self.calls, calls])
        order = totals.argsort(stable=True)
        kept: list[int] = []
        seen: set[bytes] = set()
        rows = tokens[order].cpu().numpy()
        for place, index in enumerate(order.tolist()):
            if len(kept) == len(self.tokens):
                break
            if (key := rows[place].tobytes()) not in seen or not totals[index].isfinite():
                seen.add(key)
                kept.append(index)
        kept_index = torch.tensor(kept, device=tokens.device)
        self.tokens.copy_(tokens[kept_index])
        self.scores.copy_(scores[kept_index])
        self.totals.copy_(totals[kept_index])
        self.calls.copy_(calls[kept_index])
        if components.shape[1]:
            self.components.copy_(components[kept_index])
