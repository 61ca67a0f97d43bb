"""Choosing k of K without replacement: Gumbel top-k (Kool et al. 2019, https://arxiv.org/abs/1903.06059) and its relaxation
(Xie & Ermon 2019, https://arxiv.org/abs/1901.10517).

    perturbed = logits + G;   the k largest are an exact draw without replacement
    relaxed:  a_1 = perturbed,  p_j = softmax(a_j / tau),  a_{j+1} = a_j + log(1 - p_j),  y = p_1 + ... + p_k
"""

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_categories, check_rows, check_tau
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional.gumbel import perturb
from discrete_lightning.functional.straight_through import straight_through


def relaxed_top_k(
    logits: Tensor,
    k: int,
    tau: float | Tensor = 1.0,
    *,
    hard: bool = False,
    noise: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """A relaxed indicator of k of K categories chosen without replacement.

    Args:
        logits: shape (..., K), any floating dtype; -inf masks a category.
        k: number of categories chosen, 1 <= k <= K.
        tau: temperature > 0; a 0-dim tensor may be learnable.
        hard: exactly k ones forward, the gradient of the relaxation backward.
        noise: without it the k largest logits, deterministically.
        generator: source of randomness.

    Returns:
        Shape and dtype of `logits`: entries in [0, 1] that sum to k.

    Raises:
        ValueError: if k is out of range, tau is not positive, or a row has fewer than k categories that are not masked.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> relaxed_top_k(torch.zeros(2, 5), k=3, tau=0.5, hard=True).sum(-1)
        tensor([3., 3.])
    """
    check_tau(tau)
    check_categories(logits, -1)
    if not 1 <= k <= logits.shape[-1]:
        raise ValueError(f"k must be between 1 and the number of categories, got k={k} of {logits.shape[-1]}")
    perturbed = perturb(logits, generator) if noise else float32(logits)
    best = perturbed.detach().topk(k, -1)
    least = best.values[..., -1:]
    check_rows(least - least, logits, -1)  # nan where the k-th is masked, or anything is nan
    scores, total = perturbed.clamp_min(-1e30), torch.zeros_like(perturbed)
    for _ in range(k):
        p = torch.softmax(scores / tau, -1)
        total = total + p
        # log(1 - p), bounded so that a category that is chosen with certainty leaves a finite gradient
        scores = scores + torch.log1p(-p.clamp_max(1.0 - 1e-6))
    soft = total.to(logits.dtype)
    if not hard:
        return soft
    chosen = torch.zeros_like(soft.detach()).scatter(-1, best.indices, 1.0)
    return straight_through(chosen, soft)
