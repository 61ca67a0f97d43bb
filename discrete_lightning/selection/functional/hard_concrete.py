"""Hard concrete gates (Louizos et al. 2018, https://arxiv.org/abs/1712.01312).

s = sigmoid((logit(u) + log_alpha) / beta),   u ~ U(0, 1)
z = clip(s (zeta - gamma) + gamma, 0, 1)                                    (eq. 10, 11)
P(z != 0) = sigmoid(log_alpha - beta log(-gamma / zeta))                    (eq. 12)
z at test time = clip(sigmoid(log_alpha) (zeta - gamma) + gamma, 0, 1)      (eq. 13)
"""

import math

import torch
from torch import Tensor

from discrete_lightning.functional import gumbel_sigmoid
from discrete_lightning.functional._precision import float32

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1  # of the paper


def check_stretch(beta: float, gamma: float, zeta: float) -> None:
    """Raises ValueError unless beta > 0, gamma < 0 and zeta > 1, without which no gate is ever exactly 0 or 1."""
    if not (beta > 0 and gamma < 0 and zeta > 1 and math.isfinite(zeta - gamma)):
        raise ValueError(
            f"hard concrete gates need beta > 0, gamma < 0 and zeta > 1, got beta={beta}, gamma={gamma}, zeta={zeta}"
        )


def hard_concrete(
    log_alpha: Tensor,
    beta: float = BETA,
    gamma: float = GAMMA,
    zeta: float = ZETA,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """One draw of each gate, in [0, 1]; exactly 0 and exactly 1 have probabilities above 0. No gradient where it is clipped.

    Args:
        log_alpha: location, any shape and floating dtype.
        beta: temperature of the binary concrete distribution, > 0.
        gamma: lower end of the stretched interval, < 0.
        zeta: its upper end, > 1.
        generator: source of randomness.

    Returns:
        Shape and dtype of `log_alpha`.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> z = hard_concrete(torch.zeros(1000))
        >>> bool(z.min() == 0), bool(z.max() == 1)
        (True, True)
    """
    check_stretch(beta, gamma, zeta)
    s = gumbel_sigmoid(float32(log_alpha), beta, generator=generator)
    return (s * (zeta - gamma) + gamma).clamp(0.0, 1.0).to(log_alpha.dtype)


def hard_concrete_probability(
    log_alpha: Tensor, beta: float = BETA, gamma: float = GAMMA, zeta: float = ZETA
) -> Tensor:
    """P(z != 0), float32 of the shape of `log_alpha`; arguments as of `hard_concrete`.

    Example:
        >>> round(hard_concrete_probability(torch.tensor(0.0)).item(), 3)
        0.832
    """
    check_stretch(beta, gamma, zeta)
    return torch.sigmoid(float32(log_alpha) - beta * math.log(-gamma / zeta))


def hard_concrete_mean(log_alpha: Tensor, gamma: float = GAMMA, zeta: float = ZETA) -> Tensor:
    """The paper's gate at test time, float32 of the shape of `log_alpha`: in [0, 1], and not 0 or 1 for many locations.

    Example:
        >>> hard_concrete_mean(torch.tensor([-2.5, -1.6, 0.0, 2.5]))
        tensor([0.0000, 0.1016, 0.5000, 1.0000])
    """
    check_stretch(BETA, gamma, zeta)
    return (torch.sigmoid(float32(log_alpha)) * (zeta - gamma) + gamma).clamp(0.0, 1.0)
