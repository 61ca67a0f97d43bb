"""What training costs in floating-point operations: which random architectures can be trained at the cost of a search.

A count and not a time, so that the baseline does not depend on what else the computer does.
"""

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from discrete_lightning.nas.spaces.space import SearchSpace

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


def step_flops(network: nn.Module, images: Tensor) -> float:
    """Operations of one training step on a batch, forward and backward.

    Args:
        network: logits (B, classes) from images. Its gradients and running statistics change: give a new one.
        images: (B, C, H, W).

    Example:
        >>> step_flops(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), torch.zeros(2, 1, 2, 2))
        96.0
    """
    labels, flops = torch.zeros(len(images), dtype=torch.int64, device=images.device), StepFlops()
    with torch.enable_grad(), torch.random.fork_rng([]), flops.count(0, 0):
        nn.functional.cross_entropy(network(images), labels).backward()
    return flops.total(1)


def affordable(
    architectures: Iterable[list[str]], budget: float, space: SearchSpace, images: Tensor, classes: int, steps: float
) -> list[list[str]]:
    """The first of these architectures whose trainings together cost no more than the budget; between 1 and 20.

    Args:
        architectures: in the order in which they are trained.
        budget: in floating-point operations.
        space: of the architectures.
        images: (B, C, H, W), a batch of the training.
        classes: number of classes.
        steps: of a training.
    """
    chosen: list[list[str]] = []
    for architecture in itertools.islice(architectures, _MOST):
        with torch.random.fork_rng([]):
            network = space.build(architecture, images.shape[1], classes).to(images.device)
        budget -= step_flops(network, images) * steps
        if chosen and budget < 0:
            break
        chosen.append(architecture)
    return chosen
