"""The binary Concrete or Gumbel-sigmoid relaxation (Maddison et al. 2016, appendix B; https://arxiv.org/abs/1611.00712).

y = sigmoid((logits + L) / tau),  L = G - G' ~ Logistic;    hard: 1[logits + L > 0] forward, gradient of y backward
"""

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_elements, check_tau
from discrete_lightning.functional._keyed import KeyedGenerator, in_place_of
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._temperature import sigmoid_over_tau
from discrete_lightning.functional.gumbel import gumbel_noise
from discrete_lightning.functional.straight_through import straight_through


def logistic_noise(
    shape: torch.Size, *, device: torch.device | str | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """Standard logistic noise in float32: the difference of two Gumbel variables, both tails exact.

    Example:
        >>> logistic_noise(torch.Size([3])).isfinite().all().item()
        True
    """
    generator = in_place_of(generator)
    if isinstance(generator, KeyedGenerator):
        first, second = gumbel_noise((*shape, 2), device=device, generator=generator).unbind(-1)
    else:
        first, second = gumbel_noise((2, *shape), device=device, generator=generator)
    return first - second


def gumbel_sigmoid(
    logits: Tensor, tau: float | Tensor = 1.0, *, hard: bool = False, generator: torch.Generator | None = None
) -> Tensor:
    """Samples relaxed Bernoulli variables of probability sigmoid(logits).

    Args:
        logits: log-odds, any shape and floating dtype; +-inf gives a sure 1 or 0.
        tau: temperature > 0, a number, a 0-dim tensor, or a tensor that broadcasts against `logits`.
        hard: exact Bernoulli draws (0 or 1) forward, gradient of the relaxed sample backward.
        generator: source of randomness.

    Returns:
        Samples in [0, 1], of the shape and dtype of `logits`.

    Raises:
        ValueError: if tau is not positive or a logit is NaN.

    Example:
        >>> gumbel_sigmoid(torch.tensor([-torch.inf, torch.inf]), hard=True)
        tensor([0., 1.])
    """
    check_elements(logits)
    check_tau(tau, logits=logits, dim=None)
    perturbed = float32(logits) + logistic_noise(logits.shape, device=logits.device, generator=generator)
    soft = sigmoid_over_tau(perturbed, tau).to(logits.dtype)
    return straight_through((perturbed.detach() > 0).to(logits.dtype), soft) if hard else soft
