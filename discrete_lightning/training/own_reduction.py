"""Gradients of a LightningModule that optimises manually: reduced once a step, by itself, and not by the strategy.

DistributedDataParallel reduces in each backward pass, and waits for parameters that had no part in it. A module that takes
several passes a step, or different parts in each, does without: its passes run inside `own_reduction`, and before the step it
calls `average_gradients`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from discrete_lightning.distributed import average_over_ranks


@contextmanager
def own_reduction(module: LightningModule) -> Iterator[None]:
    """Inside the block backward passes reduce nothing."""
    wrapped: Any = module.trainer.strategy.model
    with wrapped.no_sync() if isinstance(wrapped, DistributedDataParallel) else nullcontext():
        yield


def average_gradients(parameters: Sequence[nn.Parameter], batches: int = 1) -> None:
    """Replaces `grad`, a sum over batches, by the mean over batches and ranks; one all-reduce for each dtype.

    Args:
        parameters: those that have a gradient, the same on all ranks.
        batches: the number of batches in the sum.
    """
    for dtype in dict.fromkeys(each.dtype for each in parameters):
        group = [each for each in parameters if each.dtype == dtype]
        means = average_over_ranks([each.grad for each in group if each.grad is not None])
        for parameter, gradient in zip(group, means, strict=True):
            parameter.grad = gradient / batches if batches > 1 else gradient


def check_own_reduction(module: LightningModule, precisions: Sequence[str]) -> None:
    """For the start of a fit.

    Raises:
        ValueError: if the strategy shards or reduces in a way of its own, or the precision is none of `precisions`.
    """
    trainer, name = module.trainer, type(module).__name__
    if not isinstance(trainer.strategy, DDPStrategy | SingleDeviceStrategy):
        raise ValueError(
            f"{name} averages gradients itself and runs on one device or under ddp; the strategy is "
            f"{type(trainer.strategy).__name__}: set trainer.strategy to auto or ddp"
        )
    if trainer.precision not in precisions:
        raise ValueError(f"{name} runs in {', '.join(precisions)}; trainer.precision is {trainer.precision}")
