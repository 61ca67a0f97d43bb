"""Softmax on the CPU by blocks of rows that fit the cache, since a pass over memory takes longer than the arithmetic."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.functional._checks import is_traced
from discrete_lightning.functional._threads import in_threads
from discrete_lightning.functional._torch_private import is_batched, softmax_backward

_ELEMENTS = 1 << 18  # of float32: 1 MiB, which fits the level-2 cache of a core

Fill = Callable[[slice, Tensor, Tensor], Tensor]


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
    """Results (..., K) and one number a row (...), computed block by block by `fill`. No gradient."""
    rows = logits.detach().reshape(-1, logits.shape[-1])
    results = torch.empty(rows.shape, dtype=rows.dtype, device=rows.device)
    blocks = _blocks(rows)
    numbers: dict[int, Tensor] = {}

    def work(part: slice) -> None:
        numbers[part.start] = fill(part, rows[part], results[part])

    in_threads(blocks, work)
    of_rows = torch.cat([numbers[part.start] for part in blocks])
    return results.view(logits.shape), of_rows.view(logits.shape[:-1])


def _blocks(rows: Tensor) -> list[slice]:
    step = max(1, _ELEMENTS // rows.shape[1])
    return [slice(start, start + step) for start in range(0, max(1, len(rows)), step)]


def gradient_runs_in_blocks(g: Tensor) -> bool:
    """Whether to use `gradient_in_blocks`: for one gradient of several blocks on the CPU, without a second derivative."""
    return (
        g.numel() > _ELEMENTS
        and g.device.type == "cpu"
        and not (torch.is_grad_enabled() or is_traced() or is_batched(g))
    )


def gradient_in_blocks(fill: Callable[..., None], g: Tensor, *others: Tensor) -> Tensor:
    """A gradient of the shape and dtype of `g` (..., K).

    Args:
        fill: `fill(out, g, *others)` writes the gradient of a block of rows to `out`, of which all are (n, size).
        g: the gradient that arrives.
        others: (..., any size), of as many rows.
    """
    inputs = [x.reshape(-1, x.shape[-1]) for x in (g, *others)]
    out = torch.empty(inputs[0].shape, dtype=g.dtype, device=g.device)
    in_threads(_blocks(out), lambda part: fill(out[part], *(x[part] for x in inputs)))
    return out.view(g.shape)


class _SoftmaxInBlocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, tau: float, fill: Fill) -> tuple[Tensor, Tensor]:
        soft, numbers = fill_blocks(logits, fill)
        ctx.tau = tau
        ctx.save_for_backward(soft)
        ctx.mark_non_differentiable(numbers)
        return soft, numbers

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (soft,) = ctx.saved_tensors
        if not gradient_runs_in_blocks(grad_outputs[0]):
            gradient = softmax_backward(grad_outputs[0], soft)
            return gradient if ctx.tau == 1 else gradient / ctx.tau, None, None

        def fill(out: Tensor, g: Tensor, rows: Tensor) -> None:
            softmax_backward(g, rows, out)
            if ctx.tau != 1:
                out.div_(ctx.tau)

        return gradient_in_blocks(fill, grad_outputs[0], soft), None, None


def softmax_in_blocks(logits: Tensor, tau: float, fill: Fill) -> tuple[Tensor, Tensor]:
    """softmax((logits + c) / tau) for a random c that is a constant in the backward pass, and what was chosen with it.

    Intermediate values exist for one block at a time; only the results are kept.

    Args:
        logits: (..., K), see `runs_in_blocks`.
        tau: temperature > 0.
        fill: is called with a slice of the rows, those rows of logits (n, K), and where to write softmax((logits + c) / tau),
            by several threads at a time (see `in_threads`). It returns one number a row, such as the index of the choice.

    Returns:
        soft (..., K) with its gradient, and the numbers of the rows (...).
    """
    return _SoftmaxInBlocks.apply(logits, tau, fill)
