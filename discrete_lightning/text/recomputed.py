"""A result whose backward pass computes it again instead of keeping it (Chen et al. 2016, https://arxiv.org/abs/1604.06174)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.functional._precision import without_autocast

Function = Callable[..., Tensor]


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Function, *tensors: Tensor) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(*tensors)
        return function(*tensors)

    @staticmethod
    @torch.autograd.function.once_differentiable
    @without_autocast
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[1:]
        tensors = [each.detach().requires_grad_(need) for each, need in zip(ctx.saved_tensors, needed, strict=True)]
        with torch.enable_grad():
            result = ctx.function(*tensors)
        wanted = [each for each in tensors if each.requires_grad]
        found = iter(torch.autograd.grad(result, wanted, grad_outputs[0], allow_unused=True))
        return None, *(next(found) if need else None for need in needed)


def recomputed(function: Function, *tensors: Tensor) -> Tensor:
    """`function(*tensors)`, keeping the tensors alone: the backward pass calls the function again.

    As torch.utils.checkpoint, without looking at random states: the function draws nothing.

    Args:
        function: gives the same result each time it is called.
        tensors: floating; those that require one get a gradient, once differentiable.

    Example:
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> y = recomputed(torch.square, x)
        >>> y.backward()
        >>> y.item(), x.grad.item()
        (9.0, 6.0)
    """
    if torch.compiler.is_compiling():
        return function(*tensors)
    return _Recomputed.apply(function, *tensors)
