"""Rows sorted by expert, and back: only what is chosen is computed, and no tensor of tokens x experts x capacity is made.

Undoing the sort is a gather, which is deterministic on every device; so are both backward passes.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from discrete_lightning.functional._checks import values_can_be_read


class Groups(NamedTuple):
    """Choices (token, slot) sorted by expert.

    Attributes:
        order: int64 (M,), the choices token * k + slot in the order of their experts; M <= T k.
        place: int64 (T, k), where each choice stands in that order; M or more if it was left out.
        ends: int32 (N,), where the rows of each expert end. Rows behind the last end belong to none.
    """

    order: Tensor
    place: Tensor
    ends: Tensor

    @property
    def tokens(self) -> Tensor:
        """int64 (M,), the token of each row."""
        return self.order // self.place.shape[1]

    @property
    def whole(self) -> bool:
        """Whether each choice has a row."""
        return len(self.order) == self.place.numel()


@torch.no_grad()
def sort_by_expert(indices: Tensor, count: int, taken: Tensor | None = None) -> Groups:
    """Sorts choices by their experts. Nothing is read on the host but, on the CPU, the number of choices that are taken.

    Args:
        indices: int64 (T, k), in [0, count).
        count: N.
        taken: bool (T, k), False where a choice does not count; its row is left out, or stands behind the last end.

    Example:
        >>> groups = sort_by_expert(torch.tensor([[1, 0], [0, 2]]), count=4)
        >>> groups.tokens.tolist(), groups.ends.tolist()
        ([0, 1, 0, 1], [2, 3, 4, 4])
    """
    experts = (indices if taken is None else torch.where(taken, indices, count)).flatten()
    ordered, order = experts.sort(stable=True)
    ends = torch.searchsorted(ordered, torch.arange(count, device=experts.device), right=True).to(torch.int32)
    place = torch.empty_like(order).scatter(0, order, torch.arange(len(order), device=order.device))
    if taken is not None and values_can_be_read(ends):
        order = order[: int(ends[-1])]
    return Groups(order, place.view(indices.shape), ends)


def _row(x: Tensor, place: Tensor, whole: bool) -> Tensor:
    """Rows of `x` (M, d) at places (T,); zeros where a place has no row."""
    if whole:
        return x.index_select(0, place)
    if not len(x):
        return x.new_zeros(*place.shape, x.shape[1])
    return torch.where((place < len(x)).unsqueeze(-1), x.index_select(0, place.clamp_max(len(x) - 1)), 0.0)


class _Dispatch(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, order: Tensor, place: Tensor, ends: Tensor) -> Tensor:
        return x.index_select(0, order // place.shape[1])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        groups = Groups(*ctx.saved_tensors)
        g = grad_outputs[0]
        total = _row(g, groups.place[:, 0], groups.whole)
        for slot in range(1, groups.place.shape[1]):
            total = total + _row(g, groups.place[:, slot], groups.whole)
        return total, None, None, None


def dispatch(x: Tensor, groups: Groups) -> Tensor:
    """The rows (M, d) of tokens (T, d) that the experts get."""
    return _Dispatch.apply(x, *groups)


class _Combine(torch.autograd.Function):
    @staticmethod
    def forward(outputs: Tensor, gates: Tensor, order: Tensor, place: Tensor, ends: Tensor) -> Tensor:
        groups = Groups(order, place, ends)
        total = outputs.new_zeros(len(place), outputs.shape[1], dtype=torch.promote_types(outputs.dtype, gates.dtype))
        for slot in range(place.shape[1]):
            row = _row(outputs, place[:, slot], groups.whole)
            total.addcmul_(row.to(total.dtype), gates[:, slot : slot + 1].to(total.dtype))
        return total.to(outputs.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        outputs, gates, *sorting = ctx.saved_tensors
        groups, v = Groups(*sorting), grad_outputs[0]
        to_outputs = to_gates = None
        rows = v.index_select(0, groups.tokens)
        if ctx.needs_input_grad[0]:
            weights = gates.flatten()[groups.order].unsqueeze(1)
            to_outputs = (rows * weights).to(outputs.dtype)
        if ctx.needs_input_grad[1]:
            to_gates = _slopes(outputs, rows, groups).to(gates.dtype)
        return to_outputs, to_gates, None, None, None


def _slopes(outputs: Tensor, rows: Tensor, groups: Groups) -> Tensor:
    """V . output of each choice, (T, k): how the loss changes with its gate. `rows` (M, d) are v of the outputs' tokens."""
    wide = torch.promote_types(outputs.dtype, torch.float32)
    slopes = (outputs.to(wide) * rows.to(wide)).sum(-1, keepdim=True)
    return _row(slopes, groups.place.flatten(), groups.whole).view(groups.place.shape)


def combine(outputs: Tensor, gates: Tensor, groups: Groups) -> Tensor:
    """What the experts made of each token, weighted and summed: y_t = sum_slot gates[t, slot] outputs[place[t, slot]].

    Args:
        outputs: rows (M, d) in the order of `groups`.
        gates: (T, k); 0 where a choice does not count.
        groups: of the choices.

    Returns:
        (T, d), of the dtype of `outputs`; sums in float32.
    """
    return _Combine.apply(outputs, gates, *groups)


class _WithSlopes(torch.autograd.Function):
    @staticmethod
    def forward(y: Tensor, gates: Tensor, outputs: Tensor, order: Tensor, place: Tensor, ends: Tensor) -> Tensor:
        return y.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.dtype = inputs[1].dtype
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        outputs, *sorting = ctx.saved_tensors
        groups = Groups(*sorting)
        slopes = _slopes(outputs, grad_outputs[0].index_select(0, groups.tokens), groups).to(ctx.dtype)
        return grad_outputs[0], slopes, None, None, None, None


def with_slopes(y: Tensor, gates: Tensor, outputs: Tensor, groups: Groups) -> Tensor:
    """`y` (T, d), bit for bit, and the gradient to `gates` of `combine(outputs, gates, groups)`, whose gates are 0.

    Since the gates are 0, the experts' own gradient is 0: they run without a graph.
    """
    return _WithSlopes.apply(y, gates, outputs.detach(), *groups)
