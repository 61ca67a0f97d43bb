"""Everything that the package takes from the private interface of torch; tests/test_private_interfaces.py checks it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


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


def left_out_by_ddp(module: nn.Module, names: Sequence[str]) -> None:
    """Has DistributedDataParallel, which will wrap `module`, leave these parameters out of what it averages."""
    already = getattr(module, "_ddp_params_and_buffers_to_ignore", [])
    if set(names) - set(already):
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, [*already, *names])
