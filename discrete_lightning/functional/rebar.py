"""REBAR (Tucker et al. 2017, https://arxiv.org/abs/1703.07370): the score function less the loss of a relaxed sample.

    forward   f(b),  b ~ p
    gradient  (f(b) - eta f(y)) grad log p(b) + eta (grad f(sigma(z)) - grad f(sigma(z~))),   y = sigma(z) = softmax(z / tau)

with z = log p + Gumbel noise, whose argmax is b, and z~ a draw of z given b. It is unbiased for every differentiable f, every
tau and every eta. The noise of z~ is coupled to that of z so that z~ = z (see _coupled_noise.py; the paper couples them as
well): one relaxed sample serves both.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_tau
from discrete_lightning.functional._coupled_noise import (
    Noisy,
    difference_of_paths,
    draw_with_noise,
    score,
    slope_of,
    sum_of_event,
)
from discrete_lightning.functional.gumbel_top_k import check_k
from discrete_lightning.functional.relaxed_top_k import successive_softmax
from discrete_lightning.functional.softmax import softmax

Function = Callable[[Tensor], Tensor]


def rebar(
    function: Function,
    logits: Tensor,
    tau: float | Tensor = 1.0,
    *,
    eta: float = 1.0,
    k: int = 1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The loss of one draw, with REBAR's gradient to the logits.

    Args:
        function: samples (B, *event) to losses (B,). It is called at the draw, and its own parameters get the gradient there;
            then at the relaxed sample, of which they get nothing.
        logits: (B, *event), K last; -inf masks a category.
        tau: temperature of the relaxed sample, > 0; may be one a row, see `gumbel_softmax`. It gets no gradient.
        eta: weight of the control variate; 0 is the score function.
        k: the number of categories to choose, see `gumbel_top_k`.
        generator: source of randomness.

    Returns:
        float32 or float64 of shape (B,).

    Raises:
        ValueError: if tau is not positive, a row of `logits` has no distribution, or the function has no gradient.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> logits = torch.zeros(5000, 2, requires_grad=True)
        >>> rebar(lambda sample: sample[..., 1] ** 3, logits, 0.5).mean().backward()
        >>> bool((logits.grad.sum(0) - torch.tensor([-0.25, 0.25])).abs().max() < 0.02)
        True
    """
    check_k(logits, k)
    check_tau(tau, logits=logits)
    noisy = draw_with_noise(logits, k, generator)
    losses = function(noisy.sample)
    if not (torch.is_grad_enabled() and logits.requires_grad):
        return losses
    values, slope = slope_of(lambda z: eta * function(relaxed(z, noisy, tau)), noisy.z)
    gain = losses.detach().to(slope.dtype) - values.detach().to(slope.dtype)
    surrogate = gain * sum_of_event(score(logits, noisy))
    surrogate = surrogate + sum_of_event(slope * difference_of_paths(logits, noisy))
    return losses + (surrogate - surrogate.detach())


def relaxed(z: Tensor, noisy: Noisy, tau: float | Tensor) -> Tensor:
    """The relaxed sample of perturbed logits z, in the dtype of the draw."""
    tau = tau.detach() if isinstance(tau, Tensor) else tau
    k = noisy.order.shape[-1]
    soft = softmax(z, tau) if k == 1 else successive_softmax(z, k, tau)
    return soft.to(noisy.sample.dtype)
