"""Everything that the package takes from the private interface of torch; tests/test_private_interfaces.py checks it."""

import torch
from torch import Tensor


def under_functorch() -> bool:
    """Whether a torch.func transform (vmap, grad, ...) is running."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def is_batched(x: Tensor) -> bool:
    """Whether `x` stands for many tensors, as gradients do under `torch.autograd.grad(..., is_grads_batched=True)`."""
    return torch._C._functorch.is_legacy_batchedtensor(x)


def in_backward() -> bool:
    """Whether autograd is computing gradients right now, as when activation checkpointing runs a forward pass again."""
    return backward_number() != -1


def backward_number() -> int:
    """The number of the backward pass that is running, different for each; -1 outside of one."""
    return torch._C._current_graph_task_id()


def softmax_backward(gradient: Tensor, output: Tensor, out: Tensor | None = None) -> Tensor:
    """The gradient of softmax over the last dimension, from that of its `output`, in one pass over memory; also in `out`."""
    if out is None:
        return torch._softmax_backward_data(gradient, output, -1, output.dtype)
    return torch._softmax_backward_data(gradient, output, -1, output.dtype, grad_input=out)
