"""Logarithms in place, by the faster of two libraries.

On Linux with AVX-512 numpy's, made by Intel (error below 4 units in the last place), take a third of the time of torch's.
Without AVX-512 torch's are the faster ones.
"""

import sys

import numpy as np
import torch
from torch import Tensor

_BY_NUMPY = sys.platform == "linux" and torch.backends.cpu.get_cpu_capability() == "AVX512"


def log_(x: Tensor) -> Tensor:
    """Natural logarithm in place, without a gradient."""
    if not (_BY_NUMPY and x.device.type == "cpu" and type(x) is Tensor):
        return x.log_()
    numbers = x.numpy()
    np.log(numbers, numbers)
    return x


def log1p_(x: Tensor) -> Tensor:
    """log(1 + x) in place, without a gradient."""
    if not (_BY_NUMPY and x.device.type == "cpu" and type(x) is Tensor):
        return x.log1p_()
    numbers = x.numpy()
    np.log1p(numbers, numbers)
    return x
