"""Good sequences that differ from one another, kept during a search so that none is crowded out by relatives of the best.

    pool = {x: total(x) <= best + 0.1 * (start - best)}

of all sequences that were scored: those that have at least 90 % of the improvement from `start`, the mean total of the first
sequences that were scored (the template of an edit), to the best. Of the pool a limited number is kept: while there are too
many, the worse one of the two that are nearest to each other is dropped (crowding: Mahfoud 1992, "Crowding and preselection
revisited"; the truncation of SPEA2, Zitzler et al. 2001, https://doi.org/10.3929/ethz-a-004284029, has the same order).
"""

from typing import Any, Final

import torch
from torch import Tensor

from discrete_lightning.design.evaluator import Evaluation
from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.search.scored_sequences import ScoredSequences
from discrete_lightning.design.search.sequence_keys import sequence_keys

LOSS: Final = 0.1  # the share of the improvement that a sequence of the pool may lack


class DiverseArchive(ScoredSequences):
    """Sequences of the pool that satisfy all constraints, without repeats.

    Args:
        capacity: the maximum number of sequences.
        length: of the sequences.
        columns: the number of the oracle's columns.

    Attributes:
        start: float32 (), the mean total of the first sequences that were scored; NaN before.
    """

    start: Tensor

    def __init__(self, capacity: int, length: int, columns: int = 0) -> None:
        super().__init__(capacity, length, columns)
        self.register_buffer("start", torch.full((), torch.nan, dtype=torch.float32))

    def __len__(self) -> int:
        return int(self.filled.sum())

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.start.fill_(torch.nan)

    def bound(self, best: Tensor) -> Tensor:
        """The greatest total of the pool, if `best` () is the least total."""
        return best + LOSS * (self.start - best).clamp_min(0).nan_to_num(0.0)

    def update(self, problem: DesignProblem, tokens: Tensor, evaluation: Evaluation) -> None:
        """Adds the sequences that belong to the pool and satisfy all constraints.

        Args:
            problem: defines the totals and the constraints.
            tokens: (N, length).
            evaluation: exact scores (N,) and, of a Composite oracle, columns (N, columns).
        """
        totals = problem.total(evaluation.scores, tokens).float()
        if self.start.isnan() and totals.isfinite().any():
            self.start.copy_(totals[totals.isfinite()].mean())
        good = totals.isfinite().nonzero().flatten()
        if len(good):
            least = torch.minimum(self.totals.min(), totals[good].min())
            good = good[totals[good] <= self.bound(least)]
        good = good[problem.feasible(tokens[good])]
        kept = self.filled.nonzero().flatten()
        known = set(sequence_keys(self.tokens[kept])) if len(good) else set()
        new = {key: i for i, key in zip(good.tolist(), sequence_keys(tokens[good]), strict=True) if key not in known}
        if not new:
            return
        good = torch.tensor(list(new.values()), device=tokens.device)
        every = torch.cat([self.tokens[kept], tokens[good]])
        values = torch.cat([self.totals[kept], totals[good]])
        stay = self._staying(every, values)
        rows = torch.arange(len(stay), device=tokens.device)
        calls = problem.evaluator.evaluations.expand(len(good))
        self.calls[rows] = torch.cat([self.calls[kept], calls])[stay]
        self.scores[rows] = torch.cat([self.scores[kept], evaluation.scores[good].float()])[stay]
        if evaluation.components is not None:
            self.components[rows] = torch.cat([self.components[kept], evaluation.components[good].float()])[stay]
        self.tokens[rows] = every[stay]
        self.clear()
        self.totals[rows] = values[stay]

    def _staying(self, tokens: Tensor, totals: Tensor) -> Tensor:
        """The rows that stay, int64, in their order: those of the pool, without the worse ones of the nearest pairs."""
        left = (totals <= self.bound(totals.min())).nonzero().flatten()
        excess = len(left) - len(self.totals)
        if excess <= 0:
            return left
        gaps = hamming(tokens[left], tokens[left]).float()
        gaps.fill_diagonal_(torch.inf)
        values = totals[left]
        stays = torch.ones(len(left), dtype=torch.bool, device=tokens.device)
        for _ in range(excess):
            nearest = gaps.min(1)
            first = int(nearest.values.argmin())
            second = int(nearest.indices[first])
            worse = first if bool(values[first] > values[second]) else second
            stays[worse] = False
            gaps[worse] = gaps[:, worse] = torch.inf
        return left[stays]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """An earlier version had no archive: it begins empty."""
        if not any(key.startswith(prefix) for key in state_dict):
            state_dict |= {prefix + name: buffer for name, buffer in self.named_buffers()}
        super()._load_from_state_dict(state_dict, prefix, *args)


def hamming(first: Tensor, second: Tensor) -> Tensor:
    """The number of letters in which each of (N, length) differs from each of (M, length), int64 (N, M)."""
    # by rows of the first: (N, M, length) at once would not fit into memory for long sequences
    return torch.stack([(row != second).sum(-1) for row in first]) if len(first) else first.new_zeros(0, len(second))
