"""Noise that is the same on any number of ranks and after a resume: see _keyed.py."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from discrete_lightning.functional._checks import as_indices
from discrete_lightning.functional._keyed import Keys, force, spread
from discrete_lightning.functional._keyed_words import GAMMA, mix_number


@contextmanager
def keyed_noise(
    seed: int, step: int | Sequence[int], examples: int | Tensor, *, device: torch.device | str = "cpu"
) -> Iterator[None]:
    """Within the `with` block, all noise of this package is a function of (seed, step, draw, example, element).

    So it is the same on any number of ranks, after a resume without the state of a generator, where activation checkpointing
    makes a forward pass again, and under torch.compile. It holds for every layer and every function that gets no generator of
    its own; not for noise of torch (`torch.rand`, dropout). The gradients may be computed outside of the block, but before
    the next one begins; where activation checkpointing is around a compiled function, compute them inside. Blocks are not
    nested.

    The first dimension of what is sampled must be the examples, or examples x positions, in this order; see `keyed_examples`
    for all else.

    Args:
        seed: of the run, equal on all ranks.
        step: the batch, by one number or several, such as (epoch, batch). Never the same for two batches.
        examples: the number B of examples that this process has: of rank r of W they are r, r + W, r + 2 W, ... of the global
            batch, as torch's DistributedSampler deals them. Or their numbers, integers (B,).
        device: where the noise is mostly needed. It changes no value.

    Raises:
        ValueError: if `examples` is negative, or has more than one dimension.
        RuntimeError: if keyed noise is in force already.

    Example:
        >>> from discrete_lightning.functional import gumbel_noise
        >>> with keyed_noise(seed=0, step=7, examples=4):
        ...     whole = gumbel_noise((4, 3))
        >>> with keyed_noise(seed=0, step=7, examples=torch.tensor([2, 3])):
        ...     part = gumbel_noise((2, 3))
        >>> torch.equal(part, whole[2:])
        True
    """
    if force.keys is not None:
        raise RuntimeError("keyed_noise: keyed noise is in force already, by another keyed_noise or by KeyedNoise")
    keys = Keys()
    keys.begin(key_of(seed, step), numbered_examples(examples, device))
    force.keys = force.left = keys
    try:
        yield
    finally:
        force.keys = None


@contextmanager
def keyed_examples(examples: int | Tensor | None) -> Iterator[None]:
    """Within the `with` block, inside of `keyed_noise`, rows of noise belong to other examples. Without it nothing changes.

    Args:
        examples: the number B of examples, or their numbers, as `keyed_noise` takes them. Equal numbers on two ranks are the
            same example. None: the noise is shared by the batch, and equal on all ranks.

    Raises:
        ValueError: if `examples` is negative, or has more than one dimension.

    Example:
        >>> from discrete_lightning.functional import gumbel_noise
        >>> with keyed_noise(seed=0, step=7, examples=4), keyed_examples(None):
        ...     gumbel_noise((5, 3)).shape
        torch.Size([5, 3])
    """
    keys = force.keys
    if keys is None:
        yield
        return
    before = keys.examples, keys.shared
    device = examples.device if isinstance(examples, Tensor) else "cpu" if before[0] is None else before[0].device
    keys.examples = before[0] if examples is None else numbered_examples(examples, device)
    keys.shared = examples is None
    try:
        yield
    finally:
        keys.examples, keys.shared = before


@contextmanager
def picked_rows(rows: Tensor, count: int) -> Iterator[None]:
    """`keyed_examples` for rows that a layer picked out, such as those that are no padding.

    Args:
        rows: int64 (R,), their numbers among `count` rows of the examples in force.
        count: examples x positions.
    """
    keys = force.keys
    if keys is None or keys.shared or keys.examples is None:
        yield
        return
    before = keys.examples
    keys.examples = spread(before, rows, count)
    try:
        yield
    finally:
        keys.examples = before


def key_of(seed: int, step: int | Sequence[int]) -> int:
    """The key of a step, of 64 bits."""
    key = mix_number(seed)
    for number in [step] if isinstance(step, int) else step:
        key = mix_number(key + (number + 1) * GAMMA)
    return key


def numbered_examples(examples: int | Tensor, device: torch.device | str) -> Tensor:
    """The numbers of this process's examples in the global batch, int64 (B,)."""
    if isinstance(examples, Tensor):
        if examples.ndim != 1:
            raise ValueError(f"examples are a number or integers (B,), got shape {tuple(examples.shape)}")
        return as_indices(examples, "examples").to(device)
    if examples < 0:
        raise ValueError(f"examples must be at least 0, got {examples}")
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)
    return torch.arange(examples, device=device) * ranks + rank
