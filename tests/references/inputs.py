"""What every numerical test starts from."""

import torch
from torch import Tensor


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def leaf(x: Tensor | float | list[float] | list[list[float]], dtype: torch.dtype = torch.float32) -> Tensor:
    """A fresh tensor that gets a gradient."""
    return torch.as_tensor(x, dtype=dtype).clone().requires_grad_()
