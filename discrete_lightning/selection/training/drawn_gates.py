"""Gates as they are in training, in the middle of an evaluation."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from discrete_lightning.selection.budget import gate_layers


@contextmanager
def drawn_gates(module: nn.Module, seed: int = 0) -> Iterator[None]:
    """Within the `with` block the gates of a module in eval() are drawn as in training; the generators stay as they were.

    Example:
        >>> from discrete_lightning.selection import Gate
        >>> gate = Gate(4).eval()
        >>> with drawn_gates(gate):
        ...     gate.training
        True
        >>> gate.training
        False
    """
    before = [(each, each.training) for layer in gate_layers(module).values() for each in layer.modules()]
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        try:
            for each, _ in before:
                each.training = True
            yield
        finally:
            for each, mode in before:
                each.training = mode
