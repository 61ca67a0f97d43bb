"""Collective operations. A single process gets its input back; the number of processes is read at every call.

A module is often built before the process group exists (the usual case in a LightningModule). If its constructor
read the number of processes, every rank would silently work alone.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.compiler import is_compiling

from discrete_lightning.functional._keyed import is_keyed, keyed_generator
from discrete_lightning.functional._random import TracedGenerator, numbered_seed


def world_size() -> int:
    """Number of processes in the default group; 1 when there is none.

    Example:
        >>> world_size()
        1
    """
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Rank of this process in the default group; 0 when there is none."""
    return dist.get_rank() if world_size() > 1 else 0


@torch.no_grad()
def all_reduce_sum(x: Tensor) -> Tensor:
    """The sum of `x` over all ranks, in a new tensor, equal to the last bit on all of them. No gradient.

    Example:
        >>> all_reduce_sum(torch.tensor([1.0]))
        tensor([1.])
    """
    result = x.detach().clone()
    if world_size() > 1:
        dist.all_reduce(result)
    return result


@torch.no_grad()
def all_gather_rows(x: Tensor) -> Tensor:
    """Rows of all ranks, in the order of ranks: (N_r, ...) on each rank gives (sum of N_r, ...). N_r may differ, and be 0."""
    if world_size() == 1:
        return x.detach()
    counts = [torch.zeros(1, dtype=torch.int64, device=x.device) for _ in range(world_size())]
    dist.all_gather(counts, torch.tensor([len(x)], device=x.device))
    sizes = [int(count) for count in counts]
    padded = x.new_zeros(max(sizes), *x.shape[1:])
    padded[: len(x)] = x.detach()
    rows = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(rows, padded)
    return torch.cat([part[:size] for part, size in zip(rows, sizes, strict=True)])


@torch.no_grad()
def all_gather_equal(x: Tensor) -> Tensor:
    """`x` of all ranks, of one shape, stacked in the order of ranks: (world_size, ...). Reads nothing on the host.

    Example:
        >>> all_gather_equal(torch.tensor(2.0))
        tensor([2.])
    """
    parts = [torch.empty_like(x) for _ in range(world_size())]
    if len(parts) == 1:
        return x.detach().unsqueeze(0)
    dist.all_gather(parts, x.detach().contiguous())
    return torch.stack(parts)


def gather_objects(value: Any) -> list[Any]:
    """`value` of all ranks, in their order, on rank 0; an empty list on the others. It is pickled: for small things."""
    if world_size() == 1:
        return [value]
    found: list[Any] | None = [None] * world_size() if rank() == 0 else None
    dist.gather_object(value, found, dst=0)
    return found or []


def all_gather_objects(value: Any) -> list[Any]:
    """`value` of all ranks, in their order, on each of them. It is pickled: for small things."""
    if world_size() == 1:
        return [value]
    found: list[Any] = [None] * world_size()
    dist.all_gather_object(found, value)
    return found


@torch.no_grad()
def broadcast_(x: Tensor) -> Tensor:
    """Overwrites `x` with the `x` of rank 0."""
    if world_size() > 1:
        dist.broadcast(x, 0)
    return x


def global_mean(total: Tensor, count: Tensor | float) -> Tensor:
    """Sum of `total` over ranks / sum of `count` over ranks, with a gradient that is right under data parallelism.

    DistributedDataParallel averages the ranks' gradients. The value is the global mean m = sum_r t_r / sum_r n_r; the
    local gradient is that of world_size * t_r / sum_r n_r, so that the average over ranks is the gradient of m itself,
    with no collective in the backward pass.

    Args:
        total: a sum over this rank's elements, any shape.
        count: the number of those elements (ranks may differ).

    Returns:
        The mean; `total`, summed over ranks, where no rank has an element (0 for an empty sum).

    Example:
        >>> global_mean(torch.tensor([6.0]), 3)
        tensor([2.])
    """
    counted = torch.as_tensor(count, dtype=total.dtype, device=total.device)
    if world_size() == 1:
        return total / torch.where(counted == 0, 1, counted)
    packed = all_reduce_sum(torch.cat([total.detach().flatten(), counted.detach().view(1)]))
    number = torch.where(packed[-1] == 0, 1, packed[-1])
    mean = (packed[:-1] / number).view_as(total)
    local = total * (world_size() / number)
    return mean + (local - local.detach())


def rank_generator(device: torch.device, traced: bool = True, shared: bool = False) -> torch.Generator | None:
    """A generator for the noise of this rank; None (the default generator) in a single process.

    After `seed_everything` the default generators of all ranks would give equal noise. The seed is drawn
    from the default CPU generator at each call and mixed with the rank: all ranks advance it alike, reseeding starts the
    noise over, and activation checkpointing, which restores the default generator, gets the same noise again.

    Args:
        device: where noise is drawn.
        traced: whether torch.compile gets a `TracedGenerator`, since it cannot seed a generator. Its seed is drawn from the
            default generator of `device`. The functions of this package take it and torch's own do not: for others a
            torch.Generator is made, which breaks the graph.
        shared: whether the noise is one for the batch, such as that of a gate of all examples. It matters to keyed noise, which
            is then equal on all ranks; other noise is different on each rank all the same.
    """
    if is_keyed():
        return keyed_generator(shared)
    if world_size() == 1:
        return None
    if traced and is_compiling():
        return cast(torch.Generator, TracedGenerator(torch.randint(2**62, (), device=device), rank()))
    seed = int(torch.randint(2**62, (), device="cpu"))
    return torch.Generator(device=device).manual_seed(numbered_seed(seed, rank()))


@torch.no_grad()
def average_over_ranks(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The means over ranks of several tensors of one dtype and device, in one all-reduce; a single process gets them back.

    All ranks must give tensors of the same shapes.

    Example:
        >>> average_over_ranks([torch.tensor([1.0])])
        [tensor([1.])]
    """
    if world_size() == 1 or not tensors:
        return list(tensors)
    flat = all_reduce_sum(torch.cat([each.flatten() for each in tensors])) / world_size()
    parts = flat.split([each.numel() for each in tensors])
    return [part.view_as(each) for part, each in zip(parts, tensors, strict=True)]
