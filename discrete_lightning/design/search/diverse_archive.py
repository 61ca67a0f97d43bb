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

_CELLS: Final = 2**22  # letters compared at a time
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
        self._known: tuple[list[bytes], Tensor] | None = None  # keys of the rows, and how much they differ

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
        if not len(good):
            return
        kept = self.filled.nonzero().flatten()
        keys, old = self._keys_and_gaps(kept)
        known = set(keys)
        new = {key: i for i, key in zip(good.tolist(), sequence_keys(tokens[good]), strict=True) if key not in known}
        if not new:
            return
        good = torch.tensor(list(new.values()), device=tokens.device)
        every = torch.cat([self.tokens[kept], tokens[good]])
        values = torch.cat([self.totals[kept], totals[good]])
        beside = hamming(tokens[good], every).cpu()
        gaps = torch.cat([torch.cat([old, beside[:, : len(keys)].T], 1), beside])
        stay = self._staying(gaps, values.cpu())
        chosen = stay.nonzero().flatten().to(tokens.device)
        count = len(chosen)
        calls = problem.evaluator.evaluations.expand(len(good))
        self.calls[:count] = torch.cat([self.calls[kept], calls])[chosen]
        self.scores[:count] = torch.cat([self.scores[kept], evaluation.scores[good].float()])[chosen]
        if evaluation.components is not None:
            self.components[:count] = torch.cat([self.components[kept], evaluation.components[good].float()])[chosen]
        self.tokens[:count] = every[chosen]
        self.clear()
        self.totals[:count] = values[chosen]
        self._known = (
            [each for each, stays in zip([*keys, *new], stay.tolist(), strict=True) if stays],
            gaps[stay][:, stay],
        )

    def clear(self) -> None:
        super().clear()
        self._known = None

    def _keys_and_gaps(self, kept: Tensor) -> tuple[list[bytes], Tensor]:
        """The keys of the rows `kept`, and how much these differ, float32 (n, n) on the CPU; computed once after a load."""
        if self._known is None:
            rows = self.tokens[kept]
            self._known = sequence_keys(rows), hamming(rows, rows).cpu()
        return self._known

    def _staying(self, gaps: Tensor, totals: Tensor) -> Tensor:
        """Which sequences stay, bool (n,): those of the pool, without the worse ones of the nearest pairs."""
        stays = totals <= self.bound(totals.min().to(self.start)).cpu()
        excess = int(stays.sum()) - len(self.totals)
        if excess <= 0:
            return stays
        gaps = gaps.clone().fill_diagonal_(torch.inf)
        gaps[~stays] = torch.inf
        gaps[:, ~stays] = torch.inf
        for _ in range(excess):
            first, second = divmod(int(gaps.argmin()), len(gaps))
            worse = first if bool(totals[first] > totals[second]) else second
            stays[worse] = False
            gaps[worse] = gaps[:, worse] = torch.inf
        return stays

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """An earlier version had no archive: it begins empty."""
        if not any(key.startswith(prefix) for key in state_dict):
            state_dict |= {prefix + name: buffer for name, buffer in self.named_buffers()}
        self._known = None
        super()._load_from_state_dict(state_dict, prefix, *args)


def hamming(first: Tensor, second: Tensor) -> Tensor:
    """The number of letters in which each of (N, length) differs from each of (M, length), float32 (N, M).

    Example:
        >>> hamming(torch.tensor([[0, 1, 2]]), torch.tensor([[0, 1, 2], [0, 2, 1]]))
        tensor([[0., 2.]])
    """
    if not first.numel() or not second.numel():
        return torch.zeros(len(first), len(second), dtype=torch.float32, device=first.device)
    # a part at a time: (N, M, length) at once would not fit into memory for long sequences
    small = second.to(torch.int16)
    parts = first.to(torch.int16).split(max(1, _CELLS // small.numel()))
    return torch.cat([(part.unsqueeze(1) != small).sum(-1) for part in parts]).float()
