"""ReinMax (Liu et al. 2023, https://arxiv.org/abs/2304.08612): a second-order straight-through estimator.

    forward   D ~ Categorical(p),  p = softmax(logits)
    backward  2 J((p_tau + D) / 2) g - J(p) g / 2,   p_tau = softmax(logits / tau),   J(q) g = q * (g - q.g)

At tau = 1 it is ZGR (Shekhovtsov 2023, https://arxiv.org/abs/2307.14531), and exact in the mean for quadratic functions.
"""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.functional._cpu_blocks import gradient_in_blocks, gradient_runs_in_blocks
from discrete_lightning.functional.softmax import softmax
from discrete_lightning.functional.softmax_draw import softmax_draw
from discrete_lightning.functional.straight_through import one_hot_or_nan


class _ReinMax(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, p: Tensor, p_tau: Tensor, index: Tensor) -> Tensor:
        return one_hot_or_nan(logits, index, p[..., 0])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        _, p, p_tau, index = inputs
        ctx.save_for_backward(p, p_tau, index)
        ctx.at_one = p is p_tau

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        p, p_tau, index = ctx.saved_tensors
        g, chosen = grad_outputs[0].to(p.dtype), index.unsqueeze(-1)
        if not ctx.at_one:
            gradient = reinmax_gradient(g, p, p_tau, chosen)
        elif gradient_runs_in_blocks(g):
            gradient = gradient_in_blocks(_at_one, g, p, chosen)
        else:
            gradient = 0.5 * p * (g - g.gather(-1, chosen))
            gradient = gradient.scatter(-1, chosen, -gradient.sum(-1, keepdim=True))
        return gradient.to(grad_outputs[0].dtype), None, None, None


def reinmax_gradient(g: Tensor, p: Tensor, p_tau: Tensor, chosen: Tensor) -> Tensor:
    """The backward pass, for draws `chosen` (..., 1)."""
    # J(q) g does not change when g moves by a constant; g_D is moved to 0
    centred = g - g.gather(-1, chosen)
    first, second = p_tau * centred, 0.5 * p * centred
    middle, mean = 0.5 * first.sum(-1, keepdim=True), second.sum(-1, keepdim=True)
    gradient = first - p_tau * middle - second + p * mean
    return gradient.scatter_add(-1, chosen, -middle)


def _at_one(out: Tensor, g: Tensor, p: Tensor, chosen: Tensor) -> None:
    """At tau = 1 the two terms collapse to p * g / 2 - D * p.g / 2."""
    torch.sub(g, g.gather(-1, chosen), out=out).mul_(p).mul_(0.5)
    out.scatter_(-1, chosen, -out.sum(-1, keepdim=True))  # the chosen entry holds 0 so far


def reinmax_of(logits: Tensor, p: Tensor, p_tau: Tensor, index: Tensor) -> Tensor:
    """`reinmax` of a draw `index` that was made from p = softmax(logits), given p_tau = softmax(logits / tau)."""
    sample: Tensor = _ReinMax.apply(logits, p, p_tau, index)
    return sample


def reinmax(logits: Tensor, tau: float | Tensor = 1.0, *, generator: torch.Generator | None = None) -> Tensor:
    """One-hot draws from Categorical(softmax(logits)) with ReinMax's gradient.

    Args:
        logits: shape (..., K), any floating dtype; -inf masks a category.
        tau: temperature of the backward pass, > 0; published choices lie in [1, 1.5]. May be one a row, see
            `gumbel_softmax`. It gets no gradient: the sample does not depend on it.
        generator: source of randomness.

    Returns:
        One-hot samples of the shape and dtype of `logits`.

    Raises:
        ValueError: if tau is not positive, or a row of `logits` has no distribution.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> reinmax(torch.zeros(4, 3)).sum(-1)
        tensor([1., 1., 1., 1.])
    """
    with torch.no_grad():
        p, index = softmax_draw(logits, generator=generator)
        p_tau = p if isinstance(tau, float | int) and tau == 1 else softmax(logits, tau)
    return reinmax_of(logits, p, p_tau, index)
