"""The straight-through estimator: one value forward, the gradient of another backward (Bengio et al. 2013, arXiv 1308.3432)."""

import inspect
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.functional._checks import as_indices, is_traced


class _StraightThrough(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, gradient_path: Tensor) -> Tensor:
        return value.clone()  # the next layer (dropout, an activation) could not change a view in place

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.dtype = inputs[1].dtype

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[None, Tensor]:
        return None, grad_outputs[0].to(ctx.dtype)


# torch looks it up in each call, which without this takes longer than the call
_StraightThrough.forward.__signature__ = inspect.signature(_StraightThrough.forward)  # type: ignore[attr-defined]


def straight_through(value: Tensor, gradient_path: Tensor) -> Tensor:
    """Returns `value`, bit for bit, and sends its gradient to `gradient_path`.

    The usual `path + (value - path).detach()` is not equal to `value` in floating point: 3 % of bf16 elements differ, and
    by up to 30 % where values are much smaller than the path.

    Args:
        value: what is returned, such as codes or one-hot samples.
        gradient_path: a tensor of the same shape that receives the gradient unchanged.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> x = torch.tensor([0.3, 0.6], requires_grad=True)
        >>> y = straight_through(x.detach().round(), x)
        >>> y.sum().backward()
        >>> y.tolist(), x.grad.tolist()
        ([0.0, 1.0], [1.0, 1.0])
    """
    if value.shape != gradient_path.shape:
        raise ValueError(
            f"value and gradient_path must have one shape, got {tuple(value.shape)} and {tuple(gradient_path.shape)}"
        )
    return _StraightThrough.apply(value.detach(), gradient_path)


class _StraightThroughOneHot(torch.autograd.Function):
    """straight_through(one_hot(index), path) without the copy: the vectors are made here, so changing them in place is safe."""

    generate_vmap_rule = True

    @staticmethod
    def forward(gradient_path: Tensor, index: Tensor, valid: Tensor, dim: int) -> Tensor:
        return one_hot_or_nan(gradient_path, index, valid, dim)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        return grad_outputs[0], None, None, None


def one_hot_or_nan(like: Tensor, index: Tensor, valid: Tensor, dim: int = -1) -> Tensor:
    """One-hot vectors of `index`; NaN throughout in rows where `valid` is not finite. No gradient."""
    zeros = torch.zeros_like(like, memory_format=torch.contiguous_format, requires_grad=False)
    if is_traced():  # vmap has no batching rule for a scatter of tensors, and a compiler fuses the product
        return zeros.scatter(dim, index.unsqueeze(dim), 1.0) * (valid.unsqueeze(dim) * 0 + 1).to(like.dtype)
    return zeros.scatter_(dim, index.unsqueeze(dim), (valid.unsqueeze(dim) * 0 + 1).to(like.dtype))


def straight_through_one_hot(index: Tensor, gradient_path: Tensor, valid: Tensor, dim: int = -1) -> Tensor:
    """One-hot vectors forward, with the gradient of `gradient_path`; a row that has no distribution stays NaN.

    Args:
        index: int64, the shape of `gradient_path` without `dim`.
        gradient_path: a relaxed sample or probabilities; gives shape and dtype.
        valid: one float a row, NaN where the logits of the row were not valid. The row becomes NaN instead of a choice that
            looks right: on an accelerator values are not checked, and only a NaN in the loss shows the fault.
        dim: dimension of the categories.

    Example:
        >>> p = torch.tensor([0.2, 0.8], requires_grad=True)
        >>> y = straight_through_one_hot(torch.tensor(1), p, valid=p.detach()[0])
        >>> y.detach().tolist()
        [0.0, 1.0]
    """
    return _StraightThroughOneHot.apply(gradient_path, index, valid.detach(), dim)


def one_hot(index: Tensor, like: Tensor, dim: int = -1) -> Tensor:
    """The one-hot vectors of `index` along `dim`, of the shape, dtype and device of `like`.

    Args:
        index: integers, the shape of `like` without `dim`.
        like: gives shape, dtype and device.
        dim: dimension of the categories.

    Example:
        >>> one_hot(torch.tensor([2, 0]), torch.empty(2, 3))
        tensor([[0., 0., 1.],
                [1., 0., 0.]])
    """
    return torch.zeros_like(like, memory_format=torch.contiguous_format).scatter_(
        dim, as_indices(index, "index").unsqueeze(dim), 1.0
    )
