"""Pixels of any type as float32 in [0, 1]; what is not known is asked for, never guessed."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from discrete_lightning.data.errors import DataError


def to_unit(values: Any, max_value: float | None, name: str) -> Tensor:
    """Values divided by the largest possible one.

    Args:
        values: numpy array: bool; uint8 or uint16, whose largest possible values are 255 and 65,535; numbers of another type,
            in [0, 1] or with a `max_value`.
        max_value: the value that becomes 1, where it is another.
        name: of the file, in messages.

    Returns:
        float32 of the same shape.

    Raises:
        DataError: a value is below 0, above the largest possible one or NaN, or the largest possible one is not known.

    Example:
        >>> to_unit(np.array([0, 51], dtype=np.uint8), None, "a.png")
        tensor([0.0000, 0.2000])
        >>> to_unit(np.array([0, 700]), None, "a.npy")
        Traceback (most recent call last):
            ...
        discrete_lightning.data.errors.DataError: a.npy: int64 pixels, 0 to 700: set max_value to the value that becomes 1.
    """
    dtype = values.dtype
    if dtype.kind not in "buif":
        raise DataError(f"{name}: expected numbers, found {dtype}.")
    if dtype.kind == "b":
        return torch.from_numpy(values.astype(np.float32))
    largest = max_value
    if max_value is None:
        # .newbyteorder: big-endian files have types of their own
        largest = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}.get(dtype.newbyteorder("="), 1.0)
    assert largest is not None
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not (low >= 0 and high <= largest):
        held = f"{name}: {dtype} pixels, {low:g} to {high:g}"
        if low != low or high != high:
            raise DataError(f"{name}: pixels that are NaN: remove or fill them.")
        if low < 0:
            raise DataError(f"{held}: expected 0 or more. Shift them, or undo a standardisation.")
        if max_value is None:
            raise DataError(f"{held}: set max_value to the value that becomes 1.")
        raise DataError(f"{held}: expected at most max_value={max_value:g}.")
    return torch.from_numpy(values.astype(np.float32)).div_(largest)
