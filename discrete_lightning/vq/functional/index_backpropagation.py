"""Index back-propagation (Shi et al. 2024, https://arxiv.org/abs/2412.02692): a hard code forward, and backward the gradient
of a softmax over all codes.

    p = softmax(logits),   Ind = onehot(argmax p) - sg[p] + p,   quantized = Ind @ codes
    d_logits_k = p_k (g.c_k - sum_j p_j g.c_j)   of the gradient g of `quantized`; c_index gets g beside it

Logits are those of distances, -scale |x - c_k|^2. A tile of them exists at a time, and is made again in the backward pass: what
is saved is the soft code sum_j p_j c_j and log sum exp of each vector.

With negatives the sum is over the codes near x exactly, that is of all cells (`CodeCells`) that can hold one within 1.5 times
the distance to the nearest code, or, where these are more than 4,096 codes and 1/16 of all, that can hold the nearest one. M
codes drawn uniformly stand for all others: each of those outside the cells for (number of codes outside) / (number drawn
outside), which is added to its logit as a logarithm (Bengio & Senecal 2008, https://doi.org/10.1109/TNN.2007.912312). Of
vectors so far from all codes that more than that could be the nearest, the nearest one in 1/16 of the cells is taken: time
stays bounded.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from discrete_lightning.functional._checks import check_finite
from discrete_lightning.functional._precision import float32, float32_matmul, without_autocast
from discrete_lightning.functional._random import uniform
from discrete_lightning.vq.functional.code_cells import CodeCells

_ROWS, _CODES = 512, 2048  # of a tile on the CPU: 4 MiB of float32
_NEAR, _MOST = 1.5, 1 / 16  # times the distance to the nearest code; the largest share of codes near a vector
_FEW = 1 << 12  # codes of which no share is too large
_ACCELERATOR_ROWS, _ACCELERATOR_CODES = 1 << 12, 1 << 13


class IndexBackpropagation(NamedTuple):
    """What `index_backpropagation` returns.

    Attributes:
        quantized: (..., D), float32: the nearest codes.
        indices: int64 (...).
    """

    quantized: Tensor
    indices: Tensor


class _Tile(NamedTuple):
    rows: Tensor | slice  # of the vectors
    codes: Tensor | slice  # of the table
    offset: Tensor | None = None  # what is added to the logits; None: of the codes that can be nearest


class _Softmax(NamedTuple):
    largest: Tensor  # logit of each vector
    total: Tensor  # sum of exp(logit - largest)
    soft: Tensor  # sum of exp(logit - largest) c
    best: Tensor  # the largest logit of those that can be nearest, and its code
    chosen: Tensor


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, codes: Tensor, scale: Tensor, drawn: Tensor | None) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        cells = None if drawn is None else CodeCells(codes.detach())
        tiles, table, order = _tiling(x.detach(), codes.detach(), cells, drawn)
        state = _Softmax(
            x.new_full((len(x), 1), -torch.inf), x.new_zeros(len(x), 1), torch.zeros_like(x),
            x.new_full((len(x),), -torch.inf), torch.zeros(len(x), dtype=torch.int64, device=x.device),
        )  # fmt: skip
        bias = _bias(table, scale)
        for tile in tiles:
            _add(state, tile, x, table, bias, scale)
        indices = state.chosen if order is None else order[state.chosen]
        ctx.cells = cells
        ctx.save_for_backward(
            x, codes, scale, drawn, indices, state.largest + state.total.log(), state.soft / state.total
        )
        ctx.mark_non_differentiable(indices)
        return codes[indices], indices

    @staticmethod
    @once_differentiable
    @float32_matmul
    def backward(ctx: Any, g: Tensor | None, _: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        if g is None:
            return None, None, None, None
        x, codes, scale, drawn, indices, log_total, soft = ctx.saved_tensors
        tiles, table, order = _tiling(x, codes, ctx.cells, drawn)
        bias, mean = _bias(table, scale), (g * soft).sum(-1, keepdim=True)
        d_x, d_table = torch.zeros_like(x), torch.zeros_like(table)
        for rows, part, offset in tiles:
            vectors, near, here = x[rows], table[part], g[rows]
            p = _logits(vectors, near, bias[part], scale, offset).sub_(log_total[rows]).exp_()
            d_logits = torch.mm(here, near.t()).sub_(mean[rows]).mul_(p)
            _accumulate(d_x, rows, d_logits @ near)
            _accumulate(d_table, part, d_logits.t() @ vectors - d_logits.sum(0).unsqueeze(1) * near)
        d_codes = (d_table if order is None else torch.empty_like(d_table).index_copy_(0, order, d_table)).mul_(
            2 * scale
        )
        return d_x.mul_(2 * scale), d_codes.index_add_(0, indices, g), None, None


@torch.compiler.disable
@without_autocast
@float32_matmul
def index_backpropagation(
    vectors: Tensor,
    codes: Tensor,
    scale: float | Tensor = 1.0,
    *,
    negatives: int | None = None,
    generator: torch.Generator | None = None,
) -> IndexBackpropagation:
    """The nearest code forward, and backward the gradient of the softmax of -scale |x - c_k|^2 over all codes.

    Memory grows with N D and K D, not with N K. Without `negatives` the gradient is that of the dense formula; with them, on
    vectors of few dimensions of their own, it takes the time of some hundredth of the codes. Its error is that of the drawn
    codes' share of the softmax: none where codes far away have no weight.

    Args:
        vectors: x (..., D), any floating dtype.
        codes: (K, D).
        scale: > 0, a number or 0-dim tensor; it gets no gradient.
        negatives: M, how many codes are drawn for those that are far away; None: the softmax over all codes.
        generator: source of randomness of the M codes.

    Raises:
        ValueError: if the shapes do not fit, negatives < 1, or vectors are not finite (their number is named).

    Example:
        >>> x, codes = torch.tensor([[0.9], [-3.0]], requires_grad=True), torch.tensor([[-1.0], [1.0]])
        >>> quantized, indices = index_backpropagation(x, codes)
        >>> quantized.sum().backward()
        >>> indices, x.grad.squeeze(1)  # 8 p (1 - p), p = sigmoid(4 x)
        (tensor([1, 0]), tensor([2.0712e-01, 4.9253e-05]))
    """
    if codes.ndim != 2 or vectors.shape[-1:] != codes.shape[1:]:
        raise ValueError(
            f"vectors (..., D) and codes (K, D) do not fit: got {tuple(vectors.shape)}, {tuple(codes.shape)}"
        )
    if negatives is not None and negatives < 1:
        raise ValueError(f"negatives must be >= 1 or None, got {negatives}")
    check_finite(vectors, "index_backpropagation")
    x = float32(vectors).reshape(-1, vectors.shape[-1])
    table = codes.to(x.dtype)
    drawn = None
    if negatives is not None:
        drawn = (uniform((negatives,), dtype=torch.float32, device=x.device, generator=generator) * len(codes)).long()
        drawn = drawn.clamp_max_(len(codes) - 1)
    centre = table.detach().mean(
        0
    )  # distances do not change when both sides move, and digits are lost far from the origin
    found, indices = _Lookup.apply(
        x - centre, table - centre, torch.as_tensor(scale, dtype=x.dtype, device=x.device), drawn
    )
    shape = vectors.shape[:-1]
    return IndexBackpropagation((found + centre).view(vectors.shape), indices.view(shape))


def _tiling(
    x: Tensor, codes: Tensor, cells: CodeCells | None, drawn: Tensor | None
) -> tuple[Iterator[_Tile], Tensor, Tensor | None]:
    """The tiles of the softmax, the table that they are of, and the codes in its order; None if that is theirs."""
    if cells is None or drawn is None:
        return _all_tiles(x, codes), codes, None
    return _near_tiles(x, cells, drawn), cells.table, cells.order


def _all_tiles(x: Tensor, codes: Tensor) -> Iterator[_Tile]:
    cpu = x.device.type == "cpu"
    rows, step = (_ROWS, _CODES) if cpu else (_ACCELERATOR_ROWS, _ACCELERATOR_CODES)
    for row in range(0, len(x), rows):
        for start in range(0, len(codes), step):
            yield _Tile(slice(row, row + rows), slice(start, start + step))


def _near_tiles(x: Tensor, cells: CodeCells, drawn: Tensor) -> Iterator[_Tile]:
    """Of each cell the vectors whose nearest code may be there; then, of all vectors, the drawn codes of their other cells."""
    for block in range(0, len(x), 1 << 14):
        vectors = x[block : block + (1 << 14)]
        near = cells.around(vectors, _NEAR, max(_MOST, _FEW / len(cells.table)))
        for rows, part in cells.visits(near):
            yield _Tile(rows + block, part)
        inside = near[:, cells.cell[drawn]]
        outside = len(cells.table) - near.to(x.dtype) @ cells.sizes
        weight = (outside / (~inside).sum(-1)).log().unsqueeze(1)  # of no drawn code outside: used nowhere
        offset = torch.where(inside, -torch.inf, weight)
        for row in range(0, len(near), _ROWS):
            yield _Tile(slice(block + row, block + min(row + _ROWS, len(near))), drawn, offset[row : row + _ROWS])


def _bias(table: Tensor, scale: Tensor) -> Tensor:
    return table.square().sum(-1) * -scale


def _logits(x: Tensor, codes: Tensor, bias: Tensor, scale: Tensor, offset: Tensor | None) -> Tensor:
    """-scale |x - c|^2 up to a constant of each vector (n, m)."""
    logits = torch.addmm(bias, x * (2 * scale), codes.t())
    return logits if offset is None else logits.add_(offset)


def _add(state: _Softmax, tile: _Tile, x: Tensor, table: Tensor, bias: Tensor, scale: Tensor) -> None:
    """Adds a tile to the softmax of its vectors, in place."""
    rows, part, offset = tile
    codes = table[part]
    logits = _logits(x[rows], codes, bias[part], scale, offset)
    top = logits.max(-1)
    if offset is None:
        first = part.start if isinstance(part, slice) else 0
        better = top.values > state.best[rows]
        state.chosen[rows] = torch.where(better, top.indices + first, state.chosen[rows])
        state.best[rows] = torch.where(better, top.values, state.best[rows])
    before = state.largest[rows]
    largest = torch.maximum(before, top.values.unsqueeze(1))
    weights, kept = logits.sub_(largest).exp_(), (before - largest).exp()
    state.total[rows] = state.total[rows] * kept + weights.sum(-1, keepdim=True)
    state.soft[rows] = state.soft[rows] * kept + weights @ codes
    state.largest[rows] = largest


def _accumulate(total: Tensor, where: Tensor | slice, value: Tensor) -> None:
    if isinstance(where, slice):
        total[where] += value
    else:
        total.index_add_(0, where, value)
