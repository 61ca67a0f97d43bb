"""Cells of a large table of codes, and which of them can hold the code nearest to a vector.

Codes lie in the cell of their nearest centre. With u the distance of a vector x to the nearest code of its own cell o, a code
of cell c can be nearer only if both bounds allow it, by the triangle inequality (as in Elkan 2003, ICML):

    |x - m_c| - r_c < u        r_c: the distance of the farthest code of c to its centre m_c
    (|x - m_c|^2 - |x - m_o|^2) / (2 |m_c - m_o|) < u        the distance of x to the half-space nearer to m_c than to m_o

Codes follow vectors, and vectors have few dimensions of their own: of 262,144 codes about 1 in 70 is looked at. The result is
exact, up to the rounding of float32.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

_ROWS = 1 << 14  # vectors at a time, so that memory does not grow with N times the number of cells
_SLACK = 1e-5  # of the largest squared length: what rounding may take from a squared distance


class CodeCells:
    """The cells of a table of codes; vectors and codes are float32 and have a common origin near the codes' mean.

    Args:
        table: (K, D), K >= 1 and finite.

    Attributes:
        centres: (C, D), C at most about sqrt(K) / 2.
        order: int64 (K,), the codes of cell 0, of cell 1, ...
        table: the codes in that order (K, D).
        squares: their squared lengths (K,).
        cell: int64 (K,), the cell of each code of `table`.
        sizes: the number of codes of each cell (C,), of the table's dtype.
    """

    def __init__(self, table: Tensor) -> None:
        count = max(1, int(len(table) ** 0.5 / 2))
        centres = table[torch.arange(count, device=table.device) * len(table) // count]
        centres, _ = _means(table, centres)
        self.centres, cell = _occupied(table, centres)
        self.order = cell.argsort(stable=True)
        self.table, self.cell = table[self.order], cell[self.order]
        self.squares = self.table.square().sum(-1)
        self._slack = _SLACK * float(self.squares.amax())
        sizes = cell.bincount(minlength=len(self.centres))
        self.sizes = sizes.to(table.dtype)
        ends = sizes.cumsum(0).tolist()
        self._parts = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        farthest = (table - self.centres[cell]).square().sum(-1)
        radii = table.new_zeros(len(self.centres)).scatter_reduce(0, cell, farthest, "amax")
        self.radii = (radii + self._slack).sqrt()
        self._apart = (_squared_distances(self.centres, self.centres) + self._slack).sqrt()

    def nearest(self, vectors: Tensor) -> Tensor:
        """argmin_k |x - c_k|, int64 (N,); of equally near codes the first."""
        found = [self._nearest(block, *self.reachable(block)) for block in vectors.split(_ROWS)]
        return torch.cat(found) if found else vectors.new_zeros(0, dtype=torch.int64)

    def reachable(self, vectors: Tensor, times: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """Which cells can hold the nearest code, or one within `times` the distance to the nearest one of the own cell.

        Returns:
            bool (N, C); of the own cell the least |c|^2 - 2 x.c, and its code, (N,).
        """
        distances = _squared_distances(vectors, self.centres)
        least, own = distances.min(-1)
        value = vectors.new_full((len(vectors),), torch.inf)
        index = torch.full((len(vectors),), len(self.order), device=vectors.device)
        mine = torch.zeros_like(distances, dtype=torch.bool).scatter_(1, own.unsqueeze(1), True)
        self._improve(vectors, mine, value, index)
        slack = self._slack + _SLACK * vectors.square().sum(-1)
        reach = (value + vectors.square().sum(-1)).clamp_min(0).add(slack).sqrt().unsqueeze(1)
        slack = slack.unsqueeze(1)
        outside = (distances - slack).clamp_min(0).sqrt() - self.radii
        across = (distances - least.unsqueeze(1) - slack) / (2 * self._apart[own])
        return (torch.maximum(outside, across) <= times * reach) | mine, value, index

    def around(self, vectors: Tensor, times: float, most: float) -> Tensor:
        """The `reachable` cells, with `times` or else 1, if they hold at most the share `most` of codes on average; else, of
        vectors far from all codes, as many of the nearest cells: bool (N, C).
        """
        for reach in (times, 1.0):
            cells, *_ = self.reachable(vectors, reach)
            if (cells.to(self.sizes.dtype) @ self.sizes).mean() <= most * len(self.table):
                return cells
        nearest = _squared_distances(vectors, self.centres).topk(max(1, int(most * len(self.centres))), largest=False)
        return torch.zeros_like(cells).scatter_(1, nearest.indices, True)

    def visits(self, cells: Tensor) -> Iterator[tuple[Tensor, slice]]:
        """For each cell that any vector wants, bool (N, C): these vectors (n,), and its part of `table`."""
        wanted, rows = cells.t().nonzero(as_tuple=True)
        counts = wanted.bincount(minlength=len(self._parts)).tolist()
        for part, mine in zip(self._parts, rows.split(counts), strict=True):
            if len(mine):
                yield mine, part

    def _nearest(self, vectors: Tensor, cells: Tensor, value: Tensor, index: Tensor) -> Tensor:
        self._improve(vectors, cells, value, index)
        return index

    def _improve(self, vectors: Tensor, cells: Tensor, value: Tensor, index: Tensor) -> None:
        for rows, part in self.visits(cells):
            found = torch.addmm(self.squares[part], vectors[rows], self.table[part].t(), alpha=-2.0).min(-1)
            code, before = self.order[part][found.indices], value[rows]
            better = (found.values < before) | ((found.values == before) & (code < index[rows]))
            value[rows] = torch.where(better, found.values, before)
            index[rows] = torch.where(better, code, index[rows])


def _squared_distances(vectors: Tensor, centres: Tensor) -> Tensor:
    values = torch.addmm(centres.square().sum(-1), vectors, centres.t(), alpha=-2.0)
    return values.add_(vectors.square().sum(-1, keepdim=True)).clamp_min_(0)


def _cell(vectors: Tensor, centres: Tensor) -> Tensor:
    squares, transposed = centres.square().sum(-1), centres.t()
    return torch.cat([torch.addmm(squares, part, transposed, alpha=-2.0).argmin(-1) for part in vectors.split(_ROWS)])


def _means(table: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of the codes of each centre that has any, and the cell of each code."""
    centres, cell = _occupied(table, centres)
    sums = torch.zeros_like(centres).index_add_(0, cell, table)
    return sums / cell.bincount(minlength=len(centres)).unsqueeze(1), cell


def _occupied(table: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """The centres that have codes, and the number of its centre for each code (K,)."""
    used, cell = _cell(table, centres).unique(return_inverse=True)
    return centres[used], cell
