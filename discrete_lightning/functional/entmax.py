"""alpha-entmax, a softmax with exact zeros: Peters et al. 2019 (https://arxiv.org/abs/1905.05702); alpha = 2 is sparsemax
(Martins & Astudillo 2016, https://arxiv.org/abs/1602.02068), the limit alpha -> 1 is softmax.

    p_i = max(0, (alpha - 1) x_i - t)^(1 / (alpha - 1)),   t such that sum p = 1
    Jacobian (diag(s) - s s^T / sum s),   s_i = p_i^(2 - alpha) where p_i > 0, else 0

t is found by sorting for alpha = 2 and 1.5, else, and on CUDA, by bisection; the Jacobian is exact for every alpha.
"""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_categories, check_rows
from discrete_lightning.functional._precision import float32

_STEPS = {torch.float32: 30, torch.float64: 60}


class _Entmax(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, alpha: float) -> Tensor:
        z = (alpha - 1) * (x - x.amax(-1, keepdim=True))
        z = torch.where(z < -2.0, -2.0, z)  # t >= -1, so what is lower has p = 0; a NaN stays
        # running sums have no deterministic order on CUDA
        sorts = z.device.type != "cuda" and not torch.are_deterministic_algorithms_enabled()
        if alpha == 2.0 and sorts:
            p = _sparsemax(z)
        elif alpha == 1.5 and sorts:
            p = _entmax_15(z)
        else:
            p = _bisection(z, alpha)
        return p / p.sum(-1, keepdim=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.alpha = inputs[1]
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (p,) = ctx.saved_tensors
        s = torch.where(p > 0, p.clamp_min(torch.finfo(p.dtype).tiny) ** (2.0 - ctx.alpha), 0.0)
        mean = (s * grad_outputs[0]).sum(-1, keepdim=True) / s.sum(-1, keepdim=True)
        return s * (grad_outputs[0] - mean), None


def _ranked(z: Tensor) -> tuple[Tensor, Tensor]:
    """Sorted, the largest first, and the numbers 1 ... K."""
    ranked = z.sort(-1, descending=True).values
    return ranked, torch.arange(1, z.shape[-1] + 1, dtype=z.dtype, device=z.device)


def _sparsemax(z: Tensor) -> Tensor:
    ranked, number = _ranked(z)
    above = ranked.cumsum(-1) - 1
    size = (number * ranked > above).sum(-1, keepdim=True).clamp_min(1)
    return (z - above.gather(-1, size - 1) / size).clamp_min(0.0)


def _entmax_15(z: Tensor) -> Tensor:
    ranked, number = _ranked(z)
    mean, square = ranked.cumsum(-1) / number, ranked.square().cumsum(-1) / number
    t = mean - ((1 - number * (square - mean.square())) / number).clamp_min(0.0).sqrt()
    size = (t <= ranked).sum(-1, keepdim=True).clamp_min(1)
    return (z - t.gather(-1, size - 1)).clamp_min(0.0).square()


def _bisection(z: Tensor, alpha: float) -> Tensor:
    power = 1 / (alpha - 1)
    low, high = torch.full_like(z[..., :1], -1.0), torch.full_like(z[..., :1], -(z.shape[-1] ** (1 - alpha)))
    for _ in range(_STEPS[z.dtype]):
        middle = (low + high) / 2
        enough = ((z - middle).clamp_min(0.0) ** power).sum(-1, keepdim=True) >= 1
        low, high = torch.where(enough, middle, low), torch.where(enough, high, middle)
    return (z - low).clamp_min(0.0) ** power


def entmax(logits: Tensor, alpha: float = 1.5) -> Tensor:
    """alpha-entmax over the last dimension, in float32, with its gradient.

    Args:
        logits: shape (..., K), any floating dtype; -inf masks a category.
        alpha: in (1, 2]; the larger, the more zeros. 2 is sparsemax.

    Returns:
        Probabilities of the shape of `logits`, float32 (float64 of float64 logits).

    Raises:
        ValueError: if alpha is out of range, or a row of `logits` has no distribution (NaN, +inf, all -inf).

    Example:
        >>> entmax(torch.tensor([1.0, 0.5, -2.0]), alpha=2.0)
        tensor([0.7500, 0.2500, 0.0000])
    """
    check_alpha(alpha)
    check_categories(logits, -1)
    p: Tensor = _Entmax.apply(float32(logits), float(alpha))
    check_rows(p, logits, -1)
    return p


def sparse_logits(logits: Tensor, alpha: float) -> Tensor:
    """Log entmax(logits), -inf off the support: softmax of it is entmax(logits), gradient included."""
    p = entmax(logits, alpha)
    inside = p > 0
    return torch.where(inside, torch.where(inside, p, 1.0).log(), torch.where(p.detach().isnan(), p, -torch.inf))


def check_alpha(alpha: float) -> None:
    """Raises ValueError unless alpha lies in (1, 2]."""
    if not 1.0 < alpha <= 2.0:
        raise ValueError(
            f"alpha must lie in (1, 2], got {alpha}; alpha = 1 is softmax: take IndeCateR for sums over it"
        )
