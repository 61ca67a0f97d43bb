"""Contracted ReinMax: draws moved towards their mean, with the gradient of the discrete loss. Our own derivation.

    forward   z = D + w (p - D),   D ~ Categorical(p),  p = softmax(logits),   w = tau / (2 (1 + tau)) in [0, 1/2)
    backward  (1 - a) J(p) g + a (D - p) ((D - p) . g),   a = 1 / (2 (1 - w)),   J(q) g = q * (g - q . g),   g the slope at z

ReinMax at tau = 1 (Liu et al. 2023, https://arxiv.org/abs/2304.08612) is its limit w -> 0, a = 1/2. Let f be quadratic in all
latents together: g = b + H z. With c = D - p and s = 1 - w,

    E[((1 - a) J + a c c^T) (b + H p + s H c)] = J (b + H p) + a s E[c c^T H c],   E[c c^T H c] = J diag(H) - 2 J H p

so with a s = 1/2 the mean is J (b + diag(H) / 2): the exact gradient of E[f(D)], not of E[f(z)], at every w. What the gradient
of one latent owes to the draws of the others falls with s^2, and what it owes to its own draw rises with a^2: at w = 0 the
first is the larger part where there are many latents. The price is that f sees z, which is not one-hot: anneal tau to end
with samples that nearly are. tests/functional/test_contracted_reinmax.py compares the mean with enumeration.
"""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_tau
from discrete_lightning.functional._keyed import in_place_of
from discrete_lightning.functional._plackett_luce import inclusion_gradient, trapezoid_gradient
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._temperature import log_weights
from discrete_lightning.functional.gumbel import perturb
from discrete_lightning.functional.gumbel_top_k import all_chosen, check_k, k_hot_or_nan, largest
from discrete_lightning.functional.softmax_draw import softmax_draw
from discrete_lightning.functional.straight_through import one_hot_or_nan

_CENTRE = 4  # draws whose mean is the centre of subsets


def _weight(tau: float | Tensor, like: Tensor) -> Tensor:
    """w, 0-dim or one a row (..., 1); 0 and 1/2 at the smallest and the largest temperature."""
    return 0.5 / (1 + 1 / torch.as_tensor(tau, dtype=like.dtype, device=like.device))


def _to_tau(slope: Tensor, tau: Tensor) -> Tensor:
    """The gradient to tau of a slope to w (..., 1)."""
    slope = slope * (0.5 / (1 + tau.to(slope.dtype)).square())
    return (slope.sum_to_size(tau.shape) if tau.ndim else slope.sum()).to(tau.dtype)


class _Contracted(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, tau: Tensor, p: Tensor, index: Tensor) -> Tensor:
        return torch.lerp(one_hot_or_nan(p, index, p[..., 0]), p, _weight(tau, p)).to(logits.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        tau, p, index = ctx.saved_tensors
        g, chosen = grad_outputs[0].to(p.dtype), index.unsqueeze(-1)
        a = 0.5 / (1 - _weight(tau, p))
        centred = g - g.gather(-1, chosen)  # the gradient does not change when g moves by a constant
        mean = (p * centred).sum(-1, keepdim=True)
        gradient = ((1 - a) * centred + (2 * a - 1) * mean) * p
        gradient = gradient.scatter_add(-1, chosen, -a * mean)
        to_tau = _to_tau(mean, tau) if ctx.needs_input_grad[1] else None
        return gradient.to(grad_outputs[0].dtype), to_tau, None, None


def contracted_reinmax(
    logits: Tensor, tau: float | Tensor = 1.0, *, generator: torch.Generator | None = None
) -> Tensor:
    """Draws from Categorical(softmax(logits)), moved towards the probabilities, with a second-order gradient.

    Args:
        logits: shape (..., K), any floating dtype; -inf masks a category.
        tau: temperature > 0: samples are one-hot at tau -> 0, a quarter of the way to the probabilities at tau = 1, and
            half-way at tau -> inf. May be one a row, see `gumbel_softmax`. A learnable one gets the gradient of the sample.
        generator: source of randomness.

    Returns:
        Samples of the shape and dtype of `logits`, >= 0, summing to 1; the largest entry is the category that was drawn.

    Raises:
        ValueError: if tau is not positive, or a row of `logits` has no distribution.

    Example:
        >>> sample = contracted_reinmax(torch.zeros(1000, 2))
        >>> sample.amin(), sample.amax()
        (tensor(0.1250), tensor(0.8750))
    """
    check_tau(tau, logits=logits)
    with torch.no_grad():
        p, index = softmax_draw(logits, generator=generator)
    return _Contracted.apply(logits, torch.as_tensor(tau, device=logits.device), p, index)


class _ContractedSubset(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, tau: Tensor, subset: Tensor, centre: Tensor, *rest: Tensor) -> Tensor:
        return torch.lerp(subset, centre, _weight(tau, subset)).to(logits.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        tau, subset, centre, scores, order, other = ctx.saved_tensors
        g, log_p = grad_outputs[0].to(scores.dtype), torch.log_softmax(scores, -1)
        scale = 1 / (1 - _weight(tau, scores))
        first = inclusion_gradient(log_p, other, g)  # of a draw that is independent of g
        gradient = torch.lerp(first, trapezoid_gradient(log_p, order, g), scale)
        slope = (g * (centre - subset)).sum(-1, keepdim=True)
        to_tau = _to_tau(slope, tau) if ctx.needs_input_grad[1] else None
        return gradient.to(grad_outputs[0].dtype), to_tau, None, None, None, None, None


def contracted_reinmax_subset(
    logits: Tensor, k: int, tau: float | Tensor = 1.0, *, generator: torch.Generator | None = None
) -> Tensor:
    """Draws of k of K categories without replacement, moved towards a mean, with a second-order gradient.

    The draw S is Plackett-Luce; the centre that it is moved to is the mean of four further draws, which is unbiased for the
    inclusion probabilities. With s = 1 - w the gradient 1/s (that of `reinmax_subset`) + (1 - 1/s) (that of
    `straight_through_subset`) is exact in the mean for the discrete expectation of every quadratic function: the derivation
    above, with S for D and the Jacobian of the inclusion probabilities for J.

    Args:
        logits: shape (..., K), any floating dtype; -inf masks a category.
        k: number of categories chosen, 1 <= k <= K. With k = K all are ones, with a gradient of zero.
        tau: temperature > 0; see `contracted_reinmax`.
        generator: source of randomness.

    Returns:
        Shape and dtype of `logits`: between 0 and 1, sums to k; the k largest entries are those that were drawn.

    Raises:
        ValueError: if k is out of range, tau is not positive, or a row has NaN, +inf or fewer than k categories that are not
            masked.

    Example:
        >>> contracted_reinmax_subset(torch.zeros(2, 5), k=3).sum(-1)
        tensor([3., 3.])
    """
    check_k(logits, k)
    check_tau(tau, logits=logits)
    if k == logits.shape[-1]:
        return all_chosen(logits)
    generator = in_place_of(generator)
    with torch.no_grad():
        scores = log_weights(float32(logits), 1.0)
        order, valid = largest(perturb(logits, generator), logits, k)
        subset = k_hot_or_nan(scores, order, valid)
        draws = [perturb(scores, generator).topk(k, -1).indices for _ in range(_CENTRE)]
        centre = torch.stack([k_hot_or_nan(scores, each, valid) for each in draws]).mean(0)
        other = (
            perturb(scores, generator).topk(k, -1).indices
        )  # last: a compiler moves what the backward pass alone needs
    tau = torch.as_tensor(tau, device=logits.device)
    return _ContractedSubset.apply(logits, tau, subset, centre, scores, order, other)
