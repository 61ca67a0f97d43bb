"""Relaxed samples in eval(), to measure what a model loses when its choices become discrete."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from discrete_lightning.layers.relaxed import Sampling


@contextmanager
def relaxed(module: nn.Module, seed: int = 0) -> Iterator[None]:
    """Within the `with` block the layers of a module in eval() that sample do so as in training; the rest stays in eval().

    For measuring the gap between relaxed and discrete. The noise comes from `seed`; the states of the default generators are
    restored afterwards.

    Example:
        >>> from discrete_lightning.layers.relaxed import RelaxedCategorical
        >>> layer = RelaxedCategorical().eval()
        >>> with relaxed(layer):
        ...     layer.training
        True
        >>> layer.training
        False
    """
    before = [(layer, layer.training) for layer in module.modules() if isinstance(layer, Sampling)]
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        torch.default_generator.manual_seed(seed)
        for device in devices:
            torch.cuda.default_generators[device].manual_seed(seed)
        try:
            for layer, _ in before:
                layer.training = True
            yield
        finally:
            for layer, training in before:
                layer.training = training
