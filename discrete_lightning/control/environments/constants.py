"""Constants as tensors, made once for each dtype and device, and checks of arguments that environments share."""

from functools import lru_cache

import torch
from torch import Tensor


def constant(values: tuple[float, ...], like: Tensor) -> Tensor:
    """`values` as a tensor of the dtype and on the device of `like`: a step makes no new tensor of a constant."""
    return _constant(values, like.dtype, like.device)


def scalars(values: tuple[float, ...], like: Tensor) -> tuple[Tensor, ...]:
    """`values` one by one, each a tensor without dimensions. For few numbers, a product with it takes a third of the time of a
    product with a number of Python, which is made a tensor first.
    """
    return _scalars(values, like.dtype, like.device)


@lru_cache(maxsize=256)
def _scalars(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    return tuple(_constant(values, dtype, device).clone().unbind())


@lru_cache(maxsize=256)
def _constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # it will be used in training, too
        return torch.tensor(values, dtype=dtype, device=device)


def positive_limit(time_limit: int | None) -> int | None:
    """`time_limit`, if an episode can have one step.

    Raises:
        ValueError: it is below 1.
    """
    if time_limit is not None and time_limit < 1:
        raise ValueError(f"time_limit must be at least 1 step, or None for no limit; got {time_limit}")
    return time_limit
