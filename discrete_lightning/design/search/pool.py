"""The best exact sequence of every chain."""

import torch
from torch import Tensor

from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.search.scored import Scored, row_keys


class Pool(Scored):
    """One sequence a chain: the best that keeps all constraints, with its exact score.

    Args:
        chains: how many.
        length: of the sequences.
        columns: of the oracle.
    """

    def __len__(self) -> int:
        return len(self.tokens)

    def offer(
        self,
        problem: DesignProblem,
        tokens: Tensor,
        scores: Tensor,
        chains: Tensor | None = None,
        components: Tensor | None = None,
    ) -> None:
        """Takes sequences that are better than what their chain has and keep all constraints.

        Args:
            problem: says what is better.
            tokens: (N, length).
            scores: exact scores (N,).
            chains: int64 (N,), whose they are; the first N chains' if None. Of several of one chain the best counts.
            components: the oracle's columns (N, columns), if it has some.
        """
        index = torch.arange(len(tokens), device=tokens.device) if chains is None else chains
        totals = problem.total(scores, tokens).float()
        rows = (totals < self.totals[index]).nonzero().flatten()
        if not len(rows):
            return
        rows = rows[problem.feasible(tokens[rows])]
        rows = rows[totals[rows].argsort(stable=True)]
        best: dict[int, int] = {}
        for chain, row in zip(index[rows].tolist(), rows.tolist(), strict=True):
            best.setdefault(chain, row)
        taken = torch.tensor(list(best), dtype=torch.int64, device=tokens.device)
        rows = torch.tensor(list(best.values()), dtype=torch.int64, device=tokens.device)
        self.tokens[taken], self.scores[taken], self.totals[taken] = tokens[rows], scores[rows].float(), totals[rows]
        self.calls[taken] = problem.evaluator.evaluations
        if components is not None:
            self.components[taken] = components[rows].float()

    def best(self, count: int) -> list[int]:
        """The best chains, at most `count`, the same sequence once."""
        chosen: dict[bytes, int] = {}
        keys = row_keys(self.tokens)
        for chain in self.totals.argsort(stable=True)[: int(self.found.sum())].tolist():
            if len(chosen) < count:
                chosen.setdefault(keys[chain], chain)
        return list(chosen.values())
