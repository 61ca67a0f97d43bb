"""The best exact sequence of every chain."""

import torch
from torch import Tensor

from discrete_lightning.design.evaluator import Evaluation
from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.search.scored_sequences import ScoredSequences
from discrete_lightning.design.search.sequence_keys import sequence_keys


class BestPerChain(ScoredSequences):
    """One row for each chain: the chain's best sequence that satisfies all constraints, with its exact score."""

    def __len__(self) -> int:
        return len(self.tokens)

    def update(self, problem: DesignProblem, tokens: Tensor, evaluation: Evaluation, chains: Tensor) -> None:
        """Replaces a chain's sequence where a new one is better and satisfies all constraints.

        Args:
            problem: defines the totals and the constraints.
            tokens: (N, length).
            evaluation: exact scores (N,) and, of a Composite oracle, columns (N, columns).
            chains: int64 (N,), the chain to which each sequence belongs. A chain may occur more than once.
        """
        totals = problem.total(evaluation.scores, tokens).float()
        rows = (totals < self.totals[chains]).nonzero().flatten()
        if not len(rows):
            return
        rows = rows[problem.feasible(tokens[rows])]
        rows = rows[totals[rows].argsort(stable=True)]
        best: dict[int, int] = {}
        for chain, row in zip(chains[rows].tolist(), rows.tolist(), strict=True):
            best.setdefault(chain, row)
        taken = torch.tensor(list(best), dtype=torch.int64, device=tokens.device)
        rows = torch.tensor(list(best.values()), dtype=torch.int64, device=tokens.device)
        self.tokens[taken], self.totals[taken] = tokens[rows], totals[rows]
        self.scores[taken] = evaluation.scores[rows].float()
        self.calls[taken] = problem.evaluator.evaluations
        if evaluation.components is not None:
            self.components[taken] = evaluation.components[rows].float()

    def best(self, count: int) -> list[int]:
        """The chains with the best sequences, best first, at most `count`; chains with the same sequence count once."""
        chosen: dict[bytes, int] = {}
        keys = sequence_keys(self.tokens)
        for chain in self.totals.argsort(stable=True)[: int(self.filled.sum())].tolist():
            if len(chosen) < count:
                chosen.setdefault(keys[chain], chain)
        return list(chosen.values())
