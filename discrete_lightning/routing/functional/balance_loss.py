"""Switch's loss for an even load (Fedus et al. 2021, https://arxiv.org/abs/2101.03961, eq. 4-6).

    L = N sum_i u_i P_i,   u_i = c_i / sum_j c_j the share of expert i among the choices,   P_i = mean over tokens of p_i

u sums to 1 for every k, so the loss is 1 at an even load and N where one expert takes all. u, without gradient, and P are of
the tokens of all ranks (Qiu et al. 2025, https://arxiv.org/abs/2501.11873: over the global batch experts can specialise).
"""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.distributed import all_reduce_sum, global_mean
from discrete_lightning.functional._mask import positions_mask, zero_padding
from discrete_lightning.functional._precision import float32
from discrete_lightning.layers.usage import count_indices


def balance_loss(
    probabilities: Tensor, indices: Tensor, mask: Tensor | None = None, earlier: Tensor | None = None
) -> Tensor:
    """The loss of one layer. Weight 1e-2 is usual. One for each layer: pooled layers could cancel.

    Args:
        probabilities: (..., N), each row summing to 1.
        indices: int64 (..., k), the experts of each token.
        mask: bool, of the shape of the tokens (...) or its first dimensions, False where a token does not count; or of the
            shape of `indices`, False where a choice does not count.
        earlier: counts (N,) of this rank's former passes since the last step, for gradient accumulation; they join u.

    Returns:
        0-dim float32 in [0, N]; 0 where no token counts.

    Example:
        >>> p = torch.tensor([[0.9, 0.1], [0.9, 0.1]])
        >>> balance_loss(p, torch.tensor([[0], [0]])), balance_loss(p, torch.tensor([[0], [1]]))
        (tensor(1.8000), tensor(1.))
    """
    count, tokens = probabilities.shape[-1], probabilities.shape[:-1]
    counts = count_indices(indices, count, mask).float()
    if earlier is not None:
        counts = counts + earlier
    p = float32(probabilities)
    if mask is None:
        mean = global_mean(p.reshape(-1, count).sum(0), p[..., 0].numel())
    else:
        counted = mask.any(-1) if mask.ndim > len(tokens) else positions_mask(mask, tokens)
        mean = global_mean(zero_padding(p, counted).reshape(-1, count).sum(0), counted.sum())
    counts = all_reduce_sum(counts)
    return count * weighted_sum(mean, counts / counts.sum().clamp_min(1))


class _WeightedSum(torch.autograd.Function):
    """`values . weights`. Activation checkpointing replaces what a graph saved by what the second pass computes, by when the
    window has counted this pass; the weights are kept as an attribute, which it leaves alone."""

    @staticmethod
    def forward(values: Tensor, weights: Tensor) -> Tensor:
        return (values * weights).sum()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.weights = inputs[1]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return grad_outputs[0] * ctx.weights, None


def weighted_sum(values: Tensor, weights: Tensor) -> Tensor:
    """The sum of values (N,) times constant weights (N,), equal to the first pass's under activation checkpointing."""
    if torch.compiler.is_compiling():
        return (values * weights).sum()
    return _WeightedSum.apply(values, weights)
