"""A table of scored sequences, one a row: the base of all containers in which a search keeps sequences."""

import torch
from torch import Tensor

from discrete_lightning.layers.float32 import Float32State


class ScoredSequences(Float32State):
    """Rows of sequences that satisfy all constraints, each with its scores.

    Args:
        rows: the number of rows.
        length: of the sequences.
        columns: the number of an oracle's columns (see Composite), 0 for an oracle that returns only a score.

    Attributes:
        tokens: int64 (rows, length).
        scores, totals: float32 (rows,), both exact; the total of an empty row is +inf.
        calls: int64 (rows,), the number of oracle evaluations at the moment the sequence was found.
        components: float32 (rows, columns).
    """

    tokens: Tensor
    scores: Tensor
    totals: Tensor
    calls: Tensor
    components: Tensor

    def __init__(self, rows: int, length: int, columns: int = 0) -> None:
        super().__init__()
        self.register_buffer("tokens", torch.zeros(rows, length, dtype=torch.int64))
        self.register_buffer("scores", torch.full((rows,), torch.nan, dtype=torch.float32))
        self.register_buffer("totals", torch.full((rows,), torch.inf, dtype=torch.float32))
        self.register_buffer("calls", torch.zeros(rows, dtype=torch.int64))
        self.register_buffer("components", torch.zeros(rows, columns, dtype=torch.float32))

    def reset_parameters(self) -> None:
        """Empty rows, as at the start; after `to_empty` of a table that was built on the meta device."""
        for buffer in (self.tokens, self.calls, self.components):
            buffer.zero_()
        self.scores.fill_(torch.nan)
        self.clear()

    @property
    def filled(self) -> Tensor:
        """Which rows hold a sequence, bool (rows,)."""
        return self.totals.isfinite()

    def clear(self) -> None:
        """Empties all rows."""
        self.totals.fill_(torch.inf)
