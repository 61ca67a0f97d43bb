"""A tensor whose backward pass reaches others, too."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Reaching(torch.autograd.Function):
    """The node of `reaching` in the autograd graph."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, *others: Tensor) -> Tensor:
        return x.clone()  # no view, so that it may be changed in place

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.others = len(inputs) - 1

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return grad_outputs[0], *[None] * ctx.others


# torch looks it up in each call, which without this takes longer than the call
Reaching.forward.__signature__ = inspect.signature(Reaching.forward)  # type: ignore[attr-defined]


def reaching(x: Tensor, others: Sequence[Tensor]) -> Tensor:
    """`x`, whose backward pass reaches `others`, too, with no gradient.

    Args:
        x: of any shape.
        others: their hooks run, and DistributedDataParallel counts those that are parameters as used.

    Example:
        >>> x, other = (torch.ones(2, requires_grad=True) for _ in range(2))
        >>> _ = other.register_hook(lambda _: print("reached"))
        >>> reaching(x * 2, [other * 3]).sum().backward()
        reached
        >>> x.grad, other.grad
        (tensor([2., 2.]), None)
    """
    if not any(each.requires_grad for each in others):
        return x
    result: Tensor = Reaching.apply(x, *others)
    return result
