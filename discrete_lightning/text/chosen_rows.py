"""Hidden vectors to logits, a sample, and its rows of one or more tables, without keeping a logit.

    logits = x W^T + b,   y = sample(logits, tau),   rows_i = y @ table_i

Logits and samples (N, V) exist for one block of hidden vectors at a time; the backward pass makes them again from a seed:

    dy = sum_i g_i table_i^T,   dlogits = (dy/dlogits)^T dy,   dW = dlogits^T x,   dtable_i = y^T g_i

In an unroll of T steps dW is T matrices as large as W. They are added up in place: each step takes the tables from the step
before, hands them on unchanged, and so gets the sum of the later steps' gradients to add its own to.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from discrete_lightning.functional._precision import float32_matmul, without_autocast
from discrete_lightning.layers.relaxed_embedding import embed

_ELEMENTS = 1 << 19  # logits held at a time: 2 MiB of float32 a tensor on the CPU
_ACCELERATOR_ELEMENTS = 1 << 26

Sample = Callable[[Tensor, Tensor, int, int], Tensor]


class Tables(NamedTuple):
    """The matrices of a choice, in one floating dtype.

    Attributes:
        weight: W (V, H) of the head.
        bias: b (V,).
        tables: each (V, C_i); one that is the very `weight` shares its gradient.
    """

    weight: Tensor
    bias: Tensor
    tables: tuple[Tensor, ...]


class Chosen(NamedTuple):
    """What `chosen_rows` returns: rows (N, C_i) of each table, indices int64 (N,), and the tables for the next step."""

    rows: tuple[Tensor, ...]
    indices: Tensor
    tables: Tables


class _Plan(NamedTuple):
    sample: Sample
    seed: int
    hard: bool
    places: tuple[int, ...]  # of each table among the tensors; 0 is the weight, 1 the bias


class _Choose(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, plan: _Plan, known: list[Any], x: Tensor, tau: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        rows, indices = known.pop() if known else _forward(plan, x, tau, tensors)
        ctx.plan = plan
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, tau, *tensors)
        ctx.mark_non_differentiable(indices)
        return *rows, indices, *(each.view_as(each) for each in tensors)

    @staticmethod
    @torch.autograd.function.once_differentiable
    @without_autocast
    @float32_matmul
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        plan: _Plan = ctx.plan
        x, tau, *tensors = ctx.saved_tensors
        need_x, need_tau, *needed = ctx.needs_input_grad[2:]
        count = len(plan.places)
        slopes = {place: g for place, g in zip(plan.places, grads[:count], strict=True) if g is not None}
        sums = list(grads[count + 1 :])
        d_x, d_tau = torch.zeros_like(x) if need_x else None, torch.zeros_like(tau) if need_tau else None
        if not slopes:
            return None, None, d_x, d_tau, *sums
        learns = need_x or need_tau or needed[0] or needed[1]
        touched = {0, 1} | set(slopes) if learns else set(slopes)
        for i in touched:
            if needed[i] and sums[i] is None:
                sums[i] = torch.zeros_like(tensors[i])
        weight, bias = tensors[:2]
        for start, part in _parts(x, weight):
            logits = torch.addmm(bias, x[part], weight.t()).requires_grad_(bool(learns))
            tau_here = tau.detach().requires_grad_(need_tau)
            with torch.enable_grad():
                y = plan.sample(logits, tau_here, plan.seed, start)
            index = y.detach().argmax(-1) if plan.hard else None
            for place, g in slopes.items():
                total = sums[place]
                if needed[place] and total is not None:
                    if index is None:
                        total.addmm_(y.detach().t(), g[part])
                    else:
                        total.index_add_(0, index, g[part])
            if not (learns and y.requires_grad):
                continue
            d_y = sum(g[part] @ tensors[place].t() for place, g in slopes.items())
            wanted = [logits, tau_here] if need_tau else [logits]
            d_logits, *d_here = torch.autograd.grad(y, wanted, d_y, allow_unused=True)
            if d_tau is not None and d_here[0] is not None:
                d_tau += d_here[0]
            if d_x is not None:
                torch.mm(d_logits, weight, out=d_x[part])
            if needed[0]:
                sums[0].addmm_(d_logits.t(), x[part])  # type: ignore[union-attr]
            if needed[1]:
                sums[1].add_(d_logits.sum(0))  # type: ignore[union-attr]
        return None, None, d_x, d_tau, *sums


def _parts(x: Tensor, weight: Tensor) -> list[tuple[int, slice]]:
    held = _ELEMENTS if x.device.type == "cpu" else _ACCELERATOR_ELEMENTS
    step = max(1, held // len(weight))
    return [(start, slice(start, start + step)) for start in range(0, len(x), step)]


@torch.no_grad()
def _forward(plan: _Plan, x: Tensor, tau: Tensor, tensors: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    rows = [x.new_empty(len(x), tensors[place].shape[1]) for place in plan.places]
    indices = torch.empty(len(x), dtype=torch.int64, device=x.device)
    for start, part in _parts(x, tensors[0]):
        logits = torch.addmm(tensors[1], x[part], tensors[0].t())
        y = plan.sample(logits, tau, plan.seed, start)
        indices[part] = y.argmax(-1)
        for found, place in zip(rows, plan.places, strict=True):
            found[part] = embed(y, tensors[place], relaxed=not plan.hard)
    return rows, indices


@without_autocast
@float32_matmul  # the draw decides what follows
def chosen_rows(
    x: Tensor, tau: Tensor, tables: Tables, sample: Sample, seed: int, *, hard: bool, known: Chosen | None = None
) -> Chosen:
    """Rows of the tables for hidden vectors, with the gradient of `sample`.

    Args:
        x: (N, H), of the tables' dtype.
        tau: 0-dim, likewise; it gets its gradient.
        tables: what to look up in; use the `tables` of the result for the next step.
        sample: (logits (n, V), tau, seed, first) to samples (n, V), where `first` is the number of the first vector; equal
            seeds give equal samples.
        seed: of all noise.
        hard: whether samples are one-hot.
        known: the result, if it was computed before without a gradient.

    Example:
        >>> tables = Tables(torch.eye(3), torch.zeros(3), (torch.tensor([[1.0], [2.0], [4.0]]),))
        >>> found = chosen_rows(
        ...     torch.eye(3)[1:], torch.tensor(1.0), tables, lambda z, tau, seed, first: (z / tau).round(), 0, hard=True
        ... )
        >>> found.rows[0], found.indices
        (tensor([[2.],
                [4.]]), tensor([1, 2]))
    """
    weight, bias = tables.weight, tables.bias
    unique = [weight, bias, *(each for each in tables.tables if each is not weight)]
    places, free = [], iter(range(2, len(unique)))
    for each in tables.tables:
        places.append(0 if each is weight else next(free))
    plan = _Plan(sample, seed, hard, tuple(places))
    if not (torch.is_grad_enabled() and any(each.requires_grad for each in (x, tau, *unique))):
        rows, indices = (known.rows, known.indices) if known is not None else _forward(plan, x, tau, unique)
        return Chosen(tuple(rows), indices, tables)
    given = [] if known is None else [([each.detach() for each in known.rows], known.indices.detach())]
    found = _Choose.apply(plan, given, x, tau, *unique)
    count = len(places)
    passed = found[count + 1 :]
    return Chosen(found[:count], found[count], Tables(passed[0], passed[1], tuple(passed[place] for place in places)))
