"""Stochastic gates, STG (Yamada et al. 2020, https://arxiv.org/abs/1810.04247).

z = clip(mu + eps, 0, 1),   eps ~ N(0, sigma^2)          (eq. 4)
P(z != 0) = Phi(mu / sigma)                              (eq. 5)
"""

import math

import torch
from torch import Tensor

from discrete_lightning.functional._arguments import check_positive
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._random import normal

SIGMA = 0.5  # of the paper


def stochastic_gate(mu: Tensor, sigma: float = SIGMA, *, generator: torch.Generator | None = None) -> Tensor:
    """One draw of each gate, in [0, 1]. No gradient where it is clipped.

    Args:
        mu: location, any shape and floating dtype.
        sigma: standard deviation of the noise, > 0; 0.5 to the end of training, so that closed gates can return.
        generator: source of randomness.

    Returns:
        Shape and dtype of `mu`.

    Raises:
        ValueError: if sigma is out of range.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> z = stochastic_gate(torch.full((1000,), 0.5))
        >>> bool(z.min() == 0), bool(z.max() == 1)
        (True, True)
    """
    check_positive(sigma=sigma)
    noise = normal(mu.shape, device=mu.device, generator=generator)
    return (float32(mu) + sigma * noise).clamp(0.0, 1.0).to(mu.dtype)


def stochastic_gate_probability(mu: Tensor, sigma: float = SIGMA) -> Tensor:
    """P(z != 0), float32 of the shape of `mu`; arguments as of `stochastic_gate`.

    Example:
        >>> stochastic_gate_probability(torch.tensor([-0.5, 0.0, 0.5]))
        tensor([0.1587, 0.5000, 0.8413])
    """
    check_positive(sigma=sigma)
    return 0.5 * torch.erfc(float32(mu) * (-1 / (sigma * math.sqrt(2))))
