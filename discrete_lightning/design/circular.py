"""Circular sequences, such as plasmids: windows that lie over the origin."""

import torch
from torch import Tensor


def over_origin(values: Tensor, count: int, dim: int) -> Tensor:
    """`values` followed by the first `count` of them along `dim`, so that windows over the origin are windows of the result.

    Example:
        >>> over_origin(torch.arange(4), 2, 0)
        tensor([0, 1, 2, 3, 0, 1])
    """
    return torch.cat([values, values.narrow(dim, 0, count)], dim)
