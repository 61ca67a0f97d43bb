"""RELAX (Grathwohl et al. 2018, https://arxiv.org/abs/1711.00123): REBAR with a control variate that is learned.

    forward   f(b),  b ~ p
    gradient  g = (f(b) - c(z)) grad log p(b) + grad c(z) - grad c(z~),   c(z) = eta f(softmax(z / tau)) + r(z)

z = log p + Gumbel noise, whose argmax is b; z~ a draw of z given b, coupled so that z~ = z (see _coupled_noise.py). r is any
module of the perturbed log-probabilities; g is unbiased whatever it is. So its parameters are trained to lower the variance:
they get the gradient of the sum of g^2, which has the gradient of the variance since the mean of g does not depend on them.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_tau
from discrete_lightning.functional._coupled_noise import (
    difference_of_paths,
    draw_with_noise,
    score,
    slope_of,
    sum_of_event,
)
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional.gumbel_top_k import check_k
from discrete_lightning.functional.rebar import relaxed

Function = Callable[[Tensor], Tensor]


def relax(
    function: Function,
    surrogate: Function | None,
    logits: Tensor,
    tau: float | Tensor = 1.0,
    *,
    eta: float = 1.0,
    k: int = 1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The loss of one draw, with RELAX's gradient to the logits, and to the parameters of `surrogate` that of the variance.

    Args:
        function: samples (B, *event) to losses (B,). It is called at the draw, and, unless eta is 0, at the relaxed sample.
        surrogate: r, perturbed log-probabilities (B, *event), float32, to numbers (B,). None is 0.
        logits: (B, *event), K last; -inf masks a category, whose perturbed log-probability is -inf, too.
        tau: temperature of the relaxed sample, > 0; see `rebar`.
        eta: weight of the function at the relaxed sample; with 0 it need not be differentiable.
        k: the number of categories to choose, see `gumbel_top_k`.
        generator: source of randomness.

    Returns:
        float32 or float64 of shape (B,).

    Raises:
        ValueError: if tau is not positive, a row of `logits` has no distribution, or the function has no gradient.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> logits, weight = torch.zeros(5000, 2, requires_grad=True), torch.ones((), requires_grad=True)
        >>> relax(lambda b: b[..., 1] ** 3, lambda z: weight * z[..., 1], logits, eta=0.0).mean().backward()
        >>> bool((logits.grad.sum(0) - torch.tensor([-0.25, 0.25])).abs().max() < 0.05), weight.grad is not None
        (True, True)
    """
    check_k(logits, k)
    check_tau(tau, logits=logits)
    noisy = draw_with_noise(logits, k, generator)
    losses = function(noisy.sample)
    if not (torch.is_grad_enabled() and logits.requires_grad):
        return losses

    def control(z: Tensor) -> Tensor:
        total = sum_of_event(0.0 * z.masked_fill(z.isneginf(), 0.0))
        if eta:
            total = total + eta * function(relaxed(z, noisy, tau)).to(z.dtype)
        return total if surrogate is None else total + surrogate(z).to(z.dtype)

    values, slope = slope_of(control, noisy.z, create_graph=surrogate is not None)
    gain = losses.detach().to(slope.dtype) - values

    def gradient_of(x: Tensor, gain: Tensor, slope: Tensor) -> Tensor:
        return gain * sum_of_event(score(x, noisy)) + sum_of_event(slope * difference_of_paths(x, noisy))

    result = gradient_of(logits, gain.detach(), slope.detach())
    if surrogate is not None:
        _, g = slope_of(lambda x: gradient_of(x, gain, slope), float32(logits), create_graph=True)
        result = result + sum_of_event(g.square())
    return losses + (result - result.detach())
