"""Products of rows with the matrix of their group: rows that are sorted by expert, and one matrix for each expert.

    y_r = x_r w_e   for the rows r of expert e, ends_{e-1} <= r < ends_e;   0 for the rows behind the last end

`_product` decides how: torch's grouped product where it takes the tensors; on the CPU otherwise a loop over the groups, whose
ends are read there without waiting; on an accelerator otherwise blocks of rows, each with a copy of its matrix, which reads
nothing. It is one operator of torch, so that torch.compile, which traces torch's own in bfloat16 alone, keeps the graph whole.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_floating

_BLOCK = 64  # rows that share a copy of a matrix
_ALIGNED = 16  # bytes: what torch's grouped product asks of each row


def grouped_matmul(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """Multiplies each row with the matrix of its group. Under autocast in autocast's dtype, as other products.

    Args:
        x: rows (M, d), sorted by group.
        weight: (N, d, h), one matrix for each group.
        ends: int32 (N,), where each group ends, in rising order; at most M. Rows behind the last end belong to none.

    Returns:
        (M, h), of the dtype of `x`; zeros in rows of no group.

    Raises:
        ValueError: if the shapes do not fit, the dtypes differ or are not floating, or `ends` is not int32.

    Example:
        >>> x, weight = torch.ones(3, 1), torch.tensor([[[1.0]], [[10.0]], [[100.0]]])
        >>> grouped_matmul(x, weight, torch.tensor([1, 1, 2], dtype=torch.int32)).flatten().tolist()
        [1.0, 100.0, 0.0]
    """
    check_floating(x, "x")
    fits = x.ndim == 2 and weight.ndim == 3 and weight.shape[1] == x.shape[1] and ends.shape == weight.shape[:1]
    if not fits or ends.dtype != torch.int32:
        raise ValueError(
            f"grouped_matmul takes rows (M, d), matrices (N, d, h) and int32 ends (N,), got {tuple(x.shape)}, "
            f"{tuple(weight.shape)} and {ends.dtype} {tuple(ends.shape)}"
        )
    kind = x.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind) and x.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(kind)
        x, weight = x.to(dtype), weight.to(dtype)
    if x.dtype != weight.dtype:
        raise ValueError(f"rows and matrices have one dtype, got {x.dtype} and {weight.dtype}: cast one of them")
    return torch.ops.discrete_lightning.grouped_matmul(x, weight, ends)


def fits_torch(x: Tensor, weight: Tensor) -> bool:
    """Whether torch's grouped product takes rows (M, d) with matrices (N, d, h), and their gradients."""
    if not hasattr(torch.nn.functional, "grouped_mm") or not len(x):
        return False
    if x.device.type == "cuda":
        if x.dtype != torch.bfloat16 or torch.cuda.get_device_capability(x.device) < (8, 0):
            return False
    elif x.device.type != "cpu" or x.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return False
    return all(size * x.element_size() % _ALIGNED == 0 for size in weight.shape[1:])


def _product(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """The one place that decides how the product is computed."""
    if fits_torch(x, weight):
        out = torch.nn.functional.grouped_mm(x, weight, offs=ends)
        return _zero_behind(out, ends)  # there torch leaves memory as it was
    return _by_slices(x, weight, ends) if x.device.type == "cpu" else in_blocks(x, weight, ends)


def _outer(x: Tensor, g: Tensor, ends: Tensor) -> Tensor:
    """x_e^T g_e of each group e, (N, d, h): the gradient of the matrices."""
    if fits_torch(x, g.new_empty(0, x.shape[1], g.shape[1])):
        return torch.nn.functional.grouped_mm(x.t(), g, offs=ends)
    if x.device.type != "cpu":
        return outer_in_blocks(x, g, ends)
    out = x.new_zeros(len(ends), x.shape[1], g.shape[1])
    for group, rows in _slices(ends):
        torch.mm(x[rows].t(), g[rows], out=out[group])
    return out


def _zero_behind(out: Tensor, ends: Tensor) -> Tensor:
    if out.device.type == "cpu":
        out[int(ends[-1]) :].zero_()
        return out
    return torch.where((torch.arange(len(out), device=out.device) < ends[-1]).unsqueeze(1), out, 0.0)


def _slices(ends: Tensor) -> Iterator[tuple[int, slice]]:
    start = 0
    for group, end in enumerate(ends.tolist()):
        if end > start:
            yield group, slice(start, end)
        start = end


def _by_slices(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    out = x.new_zeros(len(x), weight.shape[2])
    for group, rows in _slices(ends):
        torch.mm(x[rows], weight[group], out=out[rows])
    return out


class _Blocks(NamedTuple):
    """Blocks of rows of one group each: (B,) their groups, (B, _BLOCK) their rows, and whether each lies in the group."""

    group: Tensor
    row: Tensor
    inside: Tensor


def _blocks(ends: Tensor, rows: int) -> _Blocks:
    """Sizes do not depend on values, so nothing is read on the host."""
    groups = len(ends)
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    each = (ends - starts + _BLOCK - 1) // _BLOCK
    last = each.cumsum(0)
    number = torch.arange(-(-rows // _BLOCK) + groups, device=ends.device)  # as many as there can be
    group = torch.searchsorted(last, number, right=True).clamp_max(groups - 1)
    first = starts[group] + (number - last[group] + each[group]) * _BLOCK
    row = first.unsqueeze(1) + torch.arange(_BLOCK, device=ends.device)
    inside = (row < ends[group].unsqueeze(1)) & (number < last[-1]).unsqueeze(1)
    return _Blocks(group, torch.where(inside, row, 0), inside)


def in_blocks(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """The product by blocks of rows, each with a copy of the matrix of its group."""
    blocks = _blocks(ends, len(x))
    if not len(x):
        return x.new_zeros(0, weight.shape[2])
    products = torch.bmm(x[blocks.row], weight[blocks.group])
    out = products.new_zeros(len(x) + 1, weight.shape[2])  # what lies in no group is written behind the last row
    out[torch.where(blocks.inside, blocks.row, len(x)).flatten()] = products.flatten(0, 1)
    return out[:-1].clone()


def outer_in_blocks(x: Tensor, g: Tensor, ends: Tensor) -> Tensor:
    """x_e^T g_e by blocks; a product with one-hot rows sums them, in an order that does not change from run to run."""
    blocks = _blocks(ends, len(x))
    if not len(x):
        return x.new_zeros(len(ends), x.shape[1], g.shape[1])
    left = torch.where(blocks.inside.unsqueeze(-1), x[blocks.row], 0.0)
    right = torch.where(blocks.inside.unsqueeze(-1), g[blocks.row], 0.0)
    products = torch.bmm(left.transpose(1, 2), right).flatten(1)
    member = torch.nn.functional.one_hot(blocks.group, len(ends)).to(products.dtype)
    return (member.t() @ products).view(len(ends), x.shape[1], g.shape[1])


@torch.library.custom_op("discrete_lightning::grouped_matmul", mutates_args=())
def _grouped_matmul(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    return _product(x.contiguous(), weight, ends)


@_grouped_matmul.register_fake
def _(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:  # noqa: ARG001
    return x.new_empty(x.shape[0], weight.shape[2])


@torch.library.custom_op("discrete_lightning::grouped_outer", mutates_args=())
def _grouped_outer(x: Tensor, g: Tensor, ends: Tensor) -> Tensor:
    return _outer(x.contiguous(), g.contiguous(), ends)


@_grouped_outer.register_fake
def _(x: Tensor, g: Tensor, ends: Tensor) -> Tensor:
    return x.new_empty(ends.shape[0], x.shape[1], g.shape[1])


def _setup(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    x, weight, ends = ctx.saved_tensors
    to_x, to_weight, _ = ctx.needs_input_grad
    operators = torch.ops.discrete_lightning
    return (
        operators.grouped_matmul(g, weight.transpose(1, 2), ends) if to_x else None,
        operators.grouped_outer(x, g, ends) if to_weight else None,
        None,
    )


def _outer_backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, None]:
    left, right, ends = ctx.saved_tensors
    operators = torch.ops.discrete_lightning
    return operators.grouped_matmul(right, g.transpose(1, 2), ends), operators.grouped_matmul(left, g, ends), None


_grouped_matmul.register_autograd(_backward, setup_context=_setup)
_grouped_outer.register_autograd(_outer_backward, setup_context=_setup)
