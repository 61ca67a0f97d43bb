"""What training costs in floating-point operations: how many random architectures have the cost of a search.

A count, not a time: a search gets the same baseline on every machine, however busy.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

_MOST = 20  # random architectures are trained side by side


class StepFlops:
    """Counts the operations of convolutions and matrix products in the first batch of each epoch, forward and backward.

    Example:
        >>> flops = StepFlops()
        >>> with flops.count(epoch=0, batch_idx=0):
        ...     product = torch.ones(2, 3) @ torch.ones(3, 4)
        >>> flops.total(batches=10)
        480.0
    """

    def __init__(self) -> None:
        self.counted: dict[int, int] = {}

    @contextmanager
    def count(self, epoch: int, batch_idx: int) -> Iterator[None]:
        """Counts what runs inside, if it is the first batch."""
        if batch_idx:
            yield
            return
        with FlopCounterMode(display=False) as counter:
            yield
        self.counted[epoch] = counter.get_total_flops()

    def total(self, batches: int) -> float:
        """Of this many batches, if they cost what the counted ones do on average; 0 if none was counted."""
        return sum(self.counted.values()) / max(1, len(self.counted)) * batches


def trainings_at_cost(flops: float, network: nn.Module, images: Tensor, steps: float) -> int:
    """How many trainings of a network have a given cost, between 1 and 20.

    Args:
        flops: the cost, in floating-point operations.
        network: logits (B, classes) from images. Its gradients and running statistics change: give a new one.
        images: (B, C, H, W), a batch of the training.
        steps: of a training.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))  # 96 operations a step
        >>> trainings_at_cost(9600, network, torch.zeros(2, 1, 2, 2), steps=20)
        5
    """
    labels, step = torch.zeros(len(images), dtype=torch.int64, device=images.device), StepFlops()
    with torch.enable_grad(), torch.random.fork_rng([]), step.count(0, 0):
        nn.functional.cross_entropy(network(images), labels).backward()
    cost = step.total(1) * steps
    return min(_MOST, max(1, round(flops / cost))) if cost else 1
