"""Everything that the package takes from the private interface of torch; tests/test_private_interfaces.py checks it."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import _rendezvous_handlers as _handlers
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


def default_store() -> Any:
    """The key-value store of the default process group; None where there is no group, or its store is of one process."""
    if not (dist.is_available() and dist.is_initialized()):
        return None
    store = inner = dist.distributed_c10d._get_default_store()
    while isinstance(inner, dist.PrefixStore):  # type: ignore[attr-defined]
        inner = inner.underlying_store
    return store if isinstance(inner, dist.TCPStore) else None  # type: ignore[attr-defined]


def own_prefix(store: Any) -> Any:
    """`store` with names that nobody else uses."""
    return dist.PrefixStore("discrete_lightning", store)  # type: ignore[attr-defined]


def separate_attempts(attempt: str) -> None:
    """Has the process group that is made next, by the environment's variables, use names of its own in the key-value store.

    torchrun starts the ranks again (`--max-restarts`) with the store of the attempt before, unless its rendezvous is c10d.
    There the ranks find addresses of processes that are gone, and wait for them.
    """
    plain = _handlers["env"]

    def separate(*args: Any, **kwargs: Any) -> Iterator[tuple[Any, int, int]]:
        _handlers["env"] = plain
        for store, rank, size in plain(*args, **kwargs):
            yield dist.PrefixStore(f"attempt_{attempt}", store), rank, size  # type: ignore[attr-defined]

    _handlers["env"] = separate
