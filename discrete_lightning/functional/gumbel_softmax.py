"""Gumbel-softmax (Jang et al. 2016, https://arxiv.org/abs/1611.01144; Maddison et al. 2016, https://arxiv.org/abs/1611.00712).

y = softmax((logits + G) / tau),  G ~ Gumbel;    hard: one-hot argmax(logits + G) forward, gradient of y backward
"""

from functools import partial

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_categories, check_rows, check_tau
from discrete_lightning.functional._cpu_blocks import runs_in_blocks, softmax_in_blocks
from discrete_lightning.functional._temperature import over_tau_
from discrete_lightning.functional.gumbel import fill_exponential_, perturb
from discrete_lightning.functional.softmax import softmax
from discrete_lightning.functional.straight_through import straight_through_one_hot


def _fill(rows: Tensor, soft: Tensor, tau: float, generator: torch.Generator | None) -> Tensor:
    """The choice is the largest perturbed logit, not the largest probability: probabilities can be equal at a high tau."""
    noise = torch.empty(rows.shape, dtype=torch.float32)
    fill_exponential_(noise.view(-1), generator)
    torch.sub(rows, noise.log_(), out=noise)
    best, index = noise.max(-1)
    torch.softmax(over_tau_(noise, best.unsqueeze(-1), tau), -1, out=soft)
    return index


def gumbel_softmax(
    logits: Tensor,
    tau: float | Tensor = 1.0,
    *,
    hard: bool = False,
    dim: int = -1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Samples the Gumbel-softmax distribution: a replacement for torch's, exact in half precision too.

    Noise, softmax and argmax are float32 for every input dtype (fp16 noise of torch's function gives NaN rows, bf16 noise
    draws events of p = 1e-3 at a quarter of their rate), the tail of the noise is exact, and the hard sample is exactly
    0 and 1. On the CPU it is several times faster (benchmarks/gumbel_softmax.py).

    Args:
        logits: unnormalised log-probabilities, any shape and floating dtype; -inf masks a category.
        tau: temperature > 0, a number or a 0-dim tensor (a learnable one gets its gradient).
        hard: one-hot sample forward, gradient of the relaxed sample backward (straight-through Gumbel-softmax).
        dim: dimension of the categories.
        generator: source of randomness.

    Returns:
        Samples of the shape and dtype of `logits`, summing to 1 along `dim` (one-hot if `hard`).

    Raises:
        ValueError: if tau is not positive, or a row of `logits` has no distribution.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> sample = gumbel_softmax(torch.zeros(4, 3), tau=0.5, hard=True)
        >>> sample.sum(-1)
        tensor([1., 1., 1., 1.])
    """
    check_tau(tau)
    check_categories(logits, dim)
    if runs_in_blocks(logits, tau, dim):
        soft, index = softmax_in_blocks(logits, float(tau), partial(_fill, tau=float(tau), generator=generator))
        check_rows(soft, logits, dim)
        return straight_through_one_hot(index, soft, soft[..., 0]) if hard else soft
    perturbed = perturb(logits, generator)
    winner = perturbed.detach().max(dim).indices if hard else None
    soft = softmax(perturbed, tau, dim).to(logits.dtype)
    return soft if winner is None else straight_through_one_hot(winner, soft, soft.select(dim, 0), dim)
