"""Checks of constructors' arguments: sizes and rates are refused where they are given, by their names."""

import math
from collections.abc import Sequence
from numbers import Real


def check_at_least(least: int, **sizes: int) -> None:
    """Raises ValueError unless every size is a number of at least `least`.

    Example:
        >>> check_at_least(1, hidden=0)
        Traceback (most recent call last):
        ValueError: hidden must be at least 1, got 0
    """
    for name, size in sizes.items():
        if not isinstance(size, Real) or not size >= least:
            raise ValueError(f"{name} must be at least {least}, got {size}")


def check_positive(**rates: float) -> None:
    """Raises ValueError unless every rate is positive and finite."""
    for name, rate in rates.items():
        if not isinstance(rate, Real) or not 0.0 < rate < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {rate}")


def check_not_negative(**rates: float) -> None:
    """Raises ValueError unless every rate is 0 or positive, and finite."""
    for name, rate in rates.items():
        if not isinstance(rate, Real) or not 0.0 <= rate < math.inf:
            raise ValueError(f"{name} must be 0 or positive, and finite, got {rate}")


def check_image_shape(shape: Sequence[int]) -> None:
    """Raises ValueError unless `shape` is (channels, height, width), each at least 1."""
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"image_shape is (channels, height, width), each at least 1, got {tuple(shape)}")
