"""Scored sequences, row by row: what a search keeps, in one form."""

import torch
from torch import Tensor

from discrete_lightning.layers.float32 import Float32State


class Scored(Float32State):
    """Rows of sequences that keep all constraints, with what was measured of them.

    Args:
        rows: how many there is room for.
        length: of the sequences.
        columns: of the oracle (Composite), 0 for one that has only a score.

    Attributes:
        tokens: int64 (rows, length).
        scores, totals: float32 (rows,), exact; totals are +inf in rows that are still empty.
        calls: int64 (rows,), evaluations of the oracle up to the moment of finding.
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
        self.register_buffer("scores", torch.full((rows,), torch.nan))
        self.register_buffer("totals", torch.full((rows,), torch.inf))
        self.register_buffer("calls", torch.zeros(rows, dtype=torch.int64))
        self.register_buffer("components", torch.zeros(rows, columns))

    @property
    def found(self) -> Tensor:
        """Rows that hold a sequence, bool (rows,)."""
        return self.totals.isfinite()

    def clear(self) -> None:
        """Forgets everything."""
        self.totals.fill_(torch.inf)


def row_keys(tokens: Tensor) -> list[bytes]:
    """A key for each sequence (N, length), the same for equal ones."""
    return [row.tobytes() for row in tokens.cpu().numpy()]
