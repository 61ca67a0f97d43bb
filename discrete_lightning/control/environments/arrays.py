"""Dynamics written once for torch and numpy: `xp` is one of the two modules, arrays are its own.

On few numbers an operation of numpy takes less time than one of torch, so what needs no gradient is done in numpy where it is
on the CPU. `python -m benchmarks.control.environments` prints what that gives.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from discrete_lightning.control.environments.base import Transition

Array = Any  # a tensor, or an array of numpy
Module = Any  # torch or numpy


def in_numpy(x: Tensor) -> bool:
    """Whether what is done with `x` may be done in numpy: it is on the CPU, and without gradient."""
    return x.device.type == "cpu" and not x.requires_grad


def tensors(transition: Transition) -> Transition:
    """A transition of arrays of numpy as one of tensors, in the same memory."""
    return Transition(*map(torch.from_numpy, transition))


def columns(xp: Module, values: Sequence[Array]) -> Array:
    """`values`, each (n,), side by side (n, number of values)."""
    if xp is torch:
        return torch.stack(tuple(values), 1)
    joined = np.empty((len(values[0]), len(values)), values[0].dtype)  # np.stack takes longer
    for i, value in enumerate(values):
        joined[:, i] = value
    return joined


def of_action(values: tuple[float, ...], actions: Tensor, dtype: "np.dtype[Any]") -> Array:
    """What `values` say of each action of one component, (n,) in numpy."""
    return _table(values, dtype).take(actions.numpy().reshape(-1))


@lru_cache(maxsize=64)
def _table(values: tuple[float, ...], dtype: "np.dtype[Any]") -> Array:
    return np.array(values, dtype)


def between(low: float, high: float, uniform: Tensor) -> Tensor:
    """Uniform numbers in [low, high) from those in [0, 1), rounded as by numpy's `uniform`."""
    if in_numpy(uniform):
        return torch.from_numpy(low + (high - low) * uniform.numpy())
    return low + (high - low) * uniform
