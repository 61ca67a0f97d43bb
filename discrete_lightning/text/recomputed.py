"""A result whose backward pass computes it again (Chen et al. 2016, https://arxiv.org/abs/1604.06174), known beforehand."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.functional._precision import without_autocast

Function = Callable[..., Tensor]


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Function, known: list[Tensor], *tensors: Tensor) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(*tensors)
        return known.pop()

    @staticmethod
    @torch.autograd.function.once_differentiable
    @without_autocast
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[2:]
        tensors = [each.detach().requires_grad_(need) for each, need in zip(ctx.saved_tensors, needed, strict=True)]
        with torch.enable_grad():
            result = ctx.function(*tensors)
        wanted = [each for each in tensors if each.requires_grad]
        found = iter(torch.autograd.grad(result, wanted, grad_outputs[0], allow_unused=True))
        return None, None, *(next(found) if need else None for need in needed)


def recomputed(function: Function, *tensors: Tensor, known: Tensor | None = None) -> Tensor:
    """`function(*tensors)`, keeping the tensors alone: the backward pass calls the function again.

    As torch.utils.checkpoint, with two differences: a result that is known already is not computed in the forward pass, and
    random numbers are the function's own business (it seeds a generator, say), so that no generator's state is read or set.

    Args:
        function: gives the same result each time it is called.
        tensors: floating; those that require one get a gradient, once differentiable.
        known: the result, if it was computed before.

    Example:
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> y = recomputed(torch.square, x)
        >>> y.backward()
        >>> y.item(), x.grad.item()
        (9.0, 6.0)
    """
    if torch.compiler.is_compiling():
        return function(*tensors)
    if known is None:
        with torch.no_grad():
            known = function(*tensors)
    if not (torch.is_grad_enabled() and any(each.requires_grad for each in tensors)):
        return known
    return _Recomputed.apply(function, [known.detach()], *tensors)
