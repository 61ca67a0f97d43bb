"""alpha-entmax in float64: t by 200 bisections, the Jacobian as a matrix from the definition of p as a function of t."""

import torch
from torch import Tensor


def entmax(x: Tensor, alpha: float, g: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities of x (..., K), and the gradient J g by implicit differentiation of sum p(x, t) = 1."""
    z = (alpha - 1) * (x - x.amax(-1, keepdim=True))
    low, high = torch.full_like(z[..., :1], -1.0), torch.zeros_like(z[..., :1])
    for _ in range(200):
        t = (low + high) / 2
        total = (z - t).clamp_min(0).pow(1 / (alpha - 1)).sum(-1, keepdim=True)
        low, high = torch.where(total >= 1, t, low), torch.where(total >= 1, high, t)
    rest = (z - low).clamp_min(0)
    p = rest.pow(1 / (alpha - 1))
    # dp_i/dz_i at fixed t, and dt/dz_j = (dp_j/dz_j) / sum of them, since the sum is 1
    inner = torch.where(rest > 0, rest.clamp_min(1e-300).pow(1 / (alpha - 1) - 1) / (alpha - 1), 0.0)
    of_t = inner / inner.sum(-1, keepdim=True)
    jacobian = torch.diag_embed(inner) - inner.unsqueeze(-1) * of_t.unsqueeze(-2)
    return p, (alpha - 1) * (jacobian.mT @ g.unsqueeze(-1)).squeeze(-1)
