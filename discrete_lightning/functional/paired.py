"""Paired: ReinMax's gradient in the mean, from the slopes of two categories instead of all.

    forward   D ~ Categorical(p),  p = softmax(logits);   j ~ Categorical(p without D)
    backward  (1 - p_D) / 2 (g_D - g_j) (e_D - e_j),      g the gradient at the sample

ReinMax at tau = 1 (Liu et al. 2023, https://arxiv.org/abs/2304.08612) is 1/2 sum_j p_j (g_D - g_j) (e_D - e_j). Its sum over
the other categories is sampled here: our own derivation, compared with all j enumerated in tests/functional/test_paired.py.
Who computes g_i by running something for category i (an expert) runs two of them, not all.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from discrete_lightning.functional._keyed import in_place_of
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional.categorical import draw_index
from discrete_lightning.functional.softmax_draw import softmax_draw
from discrete_lightning.functional.straight_through import one_hot_or_nan


class Pair(NamedTuple):
    """A draw and its rival, in the leading shape of the logits.

    Attributes:
        drawn: int64, a category.
        rival: int64, another one, drawn from the others; `drawn` itself where no other has any probability.
        weight: 1 - p_drawn, float32 (float64 of float64 logits).
    """

    drawn: Tensor
    rival: Tensor
    weight: Tensor


@torch.no_grad()
def draw_pair(logits: Tensor, *, generator: torch.Generator | None = None) -> Pair:
    """Draws D ~ Categorical(softmax(logits)) and a rival from the others. No gradient.

    Args:
        logits: shape (..., K), any floating dtype; -inf masks a category.
        generator: source of randomness.

    Raises:
        ValueError: if a row of `logits` has no distribution.

    Example:
        >>> pair = draw_pair(torch.tensor([0.0, -torch.inf, 0.0]))
        >>> int(pair.drawn + pair.rival), pair.weight
        (2, tensor(0.5000))
    """
    generator = in_place_of(generator)
    p, index = softmax_draw(logits, generator=generator)
    others = p.scatter(-1, index.unsqueeze(-1), 0.0)
    weight = others.sum(-1)
    rival = draw_index(others, generator)
    return Pair(index, torch.where(weight > 0, rival, index), weight)


def pair_slope(logits: Tensor, pair: Pair) -> Tensor:
    """A zero for each pair whose gradient is that of (1 - p_D) / 2 (logit_D - logit_j).

    For a layer that runs only the two: y = f_D + (f_D - f_j) * pair_slope has the paired gradient.

    Example:
        >>> logits = torch.zeros(2, requires_grad=True)
        >>> slope = pair_slope(logits, Pair(torch.tensor(0), torch.tensor(1), torch.tensor(0.5)))
        >>> slope.backward()
        >>> slope.item(), logits.grad
        (0.0, tensor([ 0.2500, -0.2500]))
    """
    both = float32(logits).gather(-1, torch.stack([pair.drawn, pair.rival], -1))
    half = 0.5 * pair.weight * (both[..., 0] - both[..., 1])
    return half - half.detach()


class _Paired(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, index: Tensor, rival: Tensor, weight: Tensor) -> Tensor:
        return one_hot_or_nan(logits, index, weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        index, rival, weight = ctx.saved_tensors
        both = torch.stack([index, rival], -1)
        g = grad_outputs[0].gather(-1, both).to(weight.dtype)
        half = 0.5 * weight * (g[..., 0] - g[..., 1])
        gradient = torch.zeros_like(grad_outputs[0], dtype=weight.dtype)
        return (
            gradient.scatter_add(-1, both, torch.stack([half, -half], -1)).to(grad_outputs[0].dtype),
            None,
            None,
            None,
        )


def paired(logits: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """One-hot draws from Categorical(softmax(logits)) with the paired gradient.

    Args:
        logits: shape (..., K), any floating dtype; -inf masks a category.
        generator: source of randomness.

    Returns:
        One-hot samples of the shape and dtype of `logits`.

    Raises:
        ValueError: if a row of `logits` has no distribution.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> paired(torch.zeros(4, 3)).sum(-1)
        tensor([1., 1., 1., 1.])
    """
    pair = draw_pair(logits, generator=generator)
    return _Paired.apply(logits, pair.drawn, pair.rival, pair.weight)
