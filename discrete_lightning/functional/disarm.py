"""DisARM (Dong et al. 2020, https://arxiv.org/abs/2006.10680): antithetic pairs of Bernoulli draws, unbiased.

b = 1[u >= 1 - s], b' = 1[u < s],  s = sigmoid(logits), u ~ Uniform(0, 1)
gradient = (f(b) - f(b')) / 2 * (-1)^b' * 1[b != b'] * sigmoid(|logits|)
"""

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_elements, check_floating
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._random import uniform


def antithetic_bernoulli(logits: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """A pair of draws b, b' from Bernoulli(sigmoid(logits)), made from one uniform so that they differ as often as possible.

    Args:
        logits: log-odds, any shape.
        generator: source of randomness.

    Returns:
        Shape (2, *logits.shape), of the dtype of `logits`, 0 or 1.

    Example:
        >>> antithetic_bernoulli(torch.zeros(1000)).sum(0).unique()
        tensor([1.])
    """
    check_elements(logits)
    scores = float32(logits.detach())
    u = uniform(logits.shape, dtype=scores.dtype, device=logits.device, generator=generator)
    s = torch.sigmoid(scores)
    return torch.stack([u >= 1 - s, u < s]).to(logits.dtype)


def disarm(losses: Tensor, pair: Tensor, logits: Tensor) -> Tensor:
    """The mean loss of an antithetic pair, with DisARM's gradient to the logits.

    Args:
        losses: f(b), f(b'), shape (2, B). Their own gradients pass through the mean.
        pair: the draws of `antithetic_bernoulli(logits)`, shape (2, B, *event).
        logits: shape (B, *event).

    Returns:
        Shape (B,).

    Raises:
        ValueError: if losses or logits are not floating, or a logit is NaN.

    Example:
        >>> logits = torch.zeros(1, 1, requires_grad=True)
        >>> pair = torch.tensor([[[1.0]], [[0.0]]])
        >>> disarm(torch.tensor([[3.0], [1.0]]), pair, logits).backward()
        >>> logits.grad  # the exact gradient of 3 s + 1 (1 - s) at s = 1/2: 2 * 1/4
        tensor([[0.5000]])
    """
    check_elements(logits)
    check_floating(losses, "losses")
    scores = float32(logits).clamp(-1e30, 1e30)  # at infinite log-odds 0 * inf would be nan
    values = losses.detach().to(scores.dtype)
    difference = ((values[0] - values[1]) / 2).reshape(-1, *([1] * (logits.ndim - 1)))
    first, second = pair[0], pair[1]
    direction = torch.where(first != second, 1.0 - 2.0 * second.to(scores.dtype), 0.0)
    weight = (difference * direction * torch.sigmoid(scores.abs())).detach()
    surrogate = weight * scores
    if surrogate.ndim > 1:
        surrogate = surrogate.flatten(1).sum(1)
    return losses.mean(0) + (surrogate - surrogate.detach())
