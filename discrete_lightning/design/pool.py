"""The best exact sequence of every chain."""

import torch
from torch import Tensor

from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.nn import Float32State


class Pool(Float32State):
    """One sequence a chain: the best that keeps all constraints, with its exact score.

    Attributes:
        tokens: int64 (chains, length).
        scores, totals: float32 (chains,); totals are +inf where nothing that keeps the constraints was found yet.
    """

    tokens: Tensor
    scores: Tensor
    totals: Tensor

    def __init__(self, chains: int, length: int) -> None:
        super().__init__()
        self.register_buffer("tokens", torch.zeros(chains, length, dtype=torch.int64))
        self.register_buffer("scores", torch.full((chains,), torch.nan))
        self.register_buffer("totals", torch.full((chains,), torch.inf))

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def found(self) -> Tensor:
        """Chains that have a design, bool (chains,)."""
        return self.totals.isfinite()

    def offer(self, problem: DesignProblem, tokens: Tensor, scores: Tensor, chains: Tensor | None = None) -> Tensor:
        """Takes sequences that are better than what their chain has and keep all constraints.

        Args:
            problem: says what is better.
            tokens: (N, length).
            scores: exact scores (N,).
            chains: int64 (N,), all different; the first N chains if None.

        Returns:
            which were taken, bool (N,).
        """
        index = torch.arange(len(tokens), device=tokens.device) if chains is None else chains
        totals = problem.total(scores, tokens).float()
        better = totals < self.totals[index]
        if better.any():
            better &= problem.feasible(tokens)
        taken = index[better]
        self.tokens[taken], self.scores[taken] = tokens[better], scores[better].float()
        self.totals[taken] = totals[better]
        return better

    def best(self, count: int) -> Tensor:
        """The best chains, int64 (at most count,), the same sequence once."""
        seen: set[bytes] = set()
        chosen: list[int] = []
        rows = self.tokens.cpu().numpy()
        for chain in self.totals.argsort(stable=True).tolist():
            if len(chosen) == count or not self.totals[chain].isfinite():
                break
            if (key := rows[chain].tobytes()) not in seen:
                seen.add(key)
                chosen.append(chain)
        return torch.tensor(chosen, dtype=torch.int64, device=self.tokens.device)
