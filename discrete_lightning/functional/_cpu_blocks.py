"""Softmax on the CPU by blocks of rows that fit the cache, since a pass over memory takes longer than the arithmetic."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.functional._checks import is_traced
from discrete_lightning.functional._torch_private import softmax_backward

_ELEMENTS = 1 << 19  # of float32: 2 MiB, which fits the level-2 caches of two cores

Fill = Callable[[Tensor, Tensor], Tensor]


def row_blocks(rows: Tensor, elements: int = _ELEMENTS) -> Iterator[slice]:
    """Slices of the rows of an (N, K) tensor: blocks that fit the cache on the CPU, all rows at once elsewhere."""
    count, width = rows.shape
    step = max(1, elements // max(1, width)) if rows.device.type == "cpu" else max(1, count)
    for start in range(0, count, step):
        yield slice(start, start + step)


def runs_in_blocks(logits: Tensor, tau: float | Tensor, dim: int = -1) -> bool:
    """Whether `softmax_in_blocks` can be used: float32 on the CPU, last dimension, a temperature that needs no gradient."""
    return (
        logits.dtype == torch.float32
        and logits.device.type == "cpu"
        and dim in (-1, logits.ndim - 1)
        and not (isinstance(tau, Tensor) and (tau.requires_grad or tau.ndim))
        and not is_traced()
    )


def fill_blocks(logits: Tensor, fill: Fill) -> tuple[Tensor, Tensor]:
    """Probabilities (..., K) and int64 choices (...), computed block by block by `fill`. No gradient."""
    rows = logits.detach().reshape(-1, logits.shape[-1])
    soft = torch.empty(rows.shape, dtype=rows.dtype)
    index = torch.empty(len(rows), dtype=torch.int64)
    for part in row_blocks(rows):
        index[part] = fill(rows[part], soft[part])
    return soft.view(logits.shape), index.view(logits.shape[:-1])


class _SoftmaxInBlocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, tau: float, fill: Fill) -> tuple[Tensor, Tensor]:
        soft, index = fill_blocks(logits, fill)
        ctx.tau = tau
        ctx.save_for_backward(soft)
        ctx.mark_non_differentiable(index)
        return soft, index

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (soft,) = ctx.saved_tensors
        gradient = softmax_backward(grad_outputs[0], soft)
        if ctx.tau != 1:  # in place unless a second derivative is wanted
            gradient = gradient / ctx.tau if torch.is_grad_enabled() else gradient.div_(ctx.tau)
        return gradient, None, None


def softmax_in_blocks(logits: Tensor, tau: float, fill: Fill) -> tuple[Tensor, Tensor]:
    """softmax((logits + c) / tau) for a random c that is a constant in the backward pass, and the choices made with it.

    Intermediate values exist for one block at a time; only the results are kept.

    Args:
        logits: (..., K), see `runs_in_blocks`.
        tau: temperature > 0.
        fill: takes rows of logits (n, K), writes softmax((logits + c) / tau) into its second argument, and returns the indices
            of the choices (n,).

    Returns:
        soft (..., K) with its gradient, and int64 indices (...).
    """
    return _SoftmaxInBlocks.apply(logits, tau, fill)
