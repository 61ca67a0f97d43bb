"""ReDGE, a reparameterisation by a diffusion model (Gourevitch et al. 2026, https://arxiv.org/abs/2601.00781).

One-hot vectors D ~ p = softmax(logits) are noised to x_t = (1 - t) D + t e, e ~ N(0, 1). The mean of D given x_t is known,

    d_t(x) = softmax(logits + (1 - t) x / t^2)

and DDIM's steps x_s = (1 - s) d_t(x_t) + s (x_t - (1 - t) d_t(x_t)) / t lead from pure noise at t = 1 to x at t_1, as a
function of the logits. tau is the ratio of noise to signal there, t_1 / (1 - t_1).

    relaxed   y = d(x),  x from noise by `steps` steps
    hard      forward D ~ p, exactly; backward the gradient of y on the path that ends in x = (1 - t_1) D + t_1 e

The paper draws the hard sample from y, whose mean is only near p; here D is exact, x is a true draw given D, and the path that
ends there is found by DDIM's steps backwards, from x to t = 1. The gradient is that of the paper on this path.
"""

import itertools

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_categories, check_tau
from discrete_lightning.functional._keyed import in_place_of
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._random import normal
from discrete_lightning.functional.softmax import softmax
from discrete_lightning.functional.softmax_draw import softmax_draw
from discrete_lightning.functional.straight_through import straight_through_one_hot

_FIRST, _LAST = 1e-4, 0.9999  # t where a sample is as good as certain, and where the noise is pure


def redge(
    logits: Tensor,
    tau: float | Tensor = 1.0,
    *,
    steps: int = 2,
    hard: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Samples of Categorical(softmax(logits)), with ReDGE's gradient.

    Args:
        logits: shape (..., K), any floating dtype; -inf masks a category.
        tau: ratio of noise to signal of the last step, > 0; may be one a row, see `gumbel_softmax`. It gets no gradient. Well
            below 0.3 x tells D with certainty, and the gradient vanishes.
        steps: of DDIM, >= 1; with 1 y is d(x) of x that does not depend on the logits before it.
        hard: exact one-hot draws, or the relaxed sample y, whose distribution is near that for many steps.
        generator: source of randomness.

    Returns:
        Samples of the shape and dtype of `logits`.

    Raises:
        ValueError: if tau is not positive, steps < 1, or a row of `logits` has no distribution.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> redge(torch.zeros(4, 3)).sum(-1)
        tensor([1., 1., 1., 1.])
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    check_categories(logits, -1)
    check_tau(tau, logits=logits)
    generator = in_place_of(generator)
    theta = float32(logits)
    ratio = torch.as_tensor(tau, dtype=theta.dtype, device=theta.device).detach()
    first = (ratio / (1 + ratio)).clamp(_FIRST, _LAST)
    times = [first + (_LAST - first) * number / max(1, steps - 1) for number in range(steps)]  # rising
    with torch.no_grad():
        if hard:
            p, index = softmax_draw(logits, generator=generator)
        noise = normal(logits.shape, device=theta.device, generator=generator).to(theta.dtype)
        if hard:
            one_hot = torch.zeros_like(p).scatter(-1, index.unsqueeze(-1), 1.0)
            end = x = (1 - first) * one_hot + first * noise
            for t, later in itertools.pairwise(times):
                x = _step(theta, x, t, later)
        else:
            x = noise
    for t, earlier in zip(times[:0:-1], times[-2::-1], strict=True):
        x = _step(theta, x, t, earlier)
    if not hard:
        return _denoised(theta, x, first).to(logits.dtype)
    y = _denoised(theta, x + (end - x).detach(), first)
    return straight_through_one_hot(index, y.to(logits.dtype), p[..., 0] + (noise[..., 0] * 0).to(p.dtype))


def _denoised(logits: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """d_t(x)."""
    return softmax(logits + (1 - t) / t.square() * x)


def _step(logits: Tensor, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """DDIM from time t to time s, earlier or later."""
    mean = _denoised(logits, x, t)
    return (1 - s) * mean + s / t * (x - (1 - t) * mean)
