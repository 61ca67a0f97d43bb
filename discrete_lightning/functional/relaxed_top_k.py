"""The relaxation of Gumbel top-k (Xie & Ermon 2019, https://arxiv.org/abs/1901.10517).

    a_1 = logits + G,   p_j = softmax(a_j / tau),   a_{j+1} = a_j + log(1 - p_j),   y = p_1 + ... + p_k

As tau falls, y becomes the k-hot vector of the k largest of logits + G, an exact draw (see gumbel_top_k).
"""

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_tau
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._temperature import LARGEST, over_tau
from discrete_lightning.functional.gumbel import perturb
from discrete_lightning.functional.gumbel_top_k import all_chosen, check_k, k_hot_or_nan, largest
from discrete_lightning.functional.straight_through import straight_through


def successive_softmax(scores: Tensor, k: int, tau: float | Tensor) -> Tensor:
    """The sum p_1 + ... + p_k of the formula above, for scores a_1 (..., K): float32 or float64; -inf masks a category."""
    scaled, p, best = _probabilities(scores, tau)
    total = p
    for _ in range(k - 1):
        scores = scores + _log_others(scaled, p, best)
        scaled, p, best = _probabilities(scores, tau)
        total = total + p
    return total


def _probabilities(scores: Tensor, tau: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What `over_tau` gives, its softmax, and the index (..., 1) of the largest."""
    largest_score, best = scores.detach().max(-1, keepdim=True)
    scaled = over_tau(scores, tau, best=largest_score)
    return scaled, torch.softmax(scaled, -1), best


def _log_others(scaled: Tensor, p: Tensor, best: Tensor) -> Tensor:
    """log(1 - p) for p = softmax(scaled). Of the largest it comes from its lead: 1 - p rounds to 0 where p is nearly 1."""
    others = scaled.scatter(-1, best, -LARGEST)  # finite, where all others are -inf
    lead = scaled.gather(-1, best) - others.logsumexp(-1, keepdim=True)
    return torch.log1p(p.scatter(-1, best, 0.0).neg_()).scatter(-1, best, -torch.nn.functional.softplus(lead))


def relaxed_top_k(
    logits: Tensor,
    k: int,
    tau: float | Tensor = 1.0,
    *,
    hard: bool = False,
    noise: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """A relaxed k-hot vector of k of K categories chosen without replacement.

    Args:
        logits: shape (..., K), any floating dtype; -inf masks a category.
        k: number of categories chosen, 1 <= k <= K. With k = K all are ones, with a gradient of zero.
        tau: temperature > 0; a tensor, 0-dim or one a row (see `gumbel_softmax`), may be learnable.
        hard: an exact draw, k ones, forward; the gradient of the relaxation backward.
        noise: whether Gumbel noise is added. If not, the k largest logits are chosen.
        generator: source of randomness.

    Returns:
        Shape and dtype of `logits`: entries >= 0 that sum to k. At a high temperature a soft entry can exceed 1 (1.5 was
        measured at tau = 1).

    Raises:
        ValueError: if k is out of range, tau is not positive, or a row has NaN, +inf or fewer than k categories that are not
            masked.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> relaxed_top_k(torch.zeros(2, 5), k=3, tau=0.5, hard=True).sum(-1)
        tensor([3., 3.])
    """
    check_k(logits, k)
    check_tau(tau, logits=logits)
    if k == logits.shape[-1]:
        return all_chosen(logits)
    perturbed = perturb(logits, generator) if noise else float32(logits)
    index, valid = largest(perturbed.detach(), logits, k)
    soft = successive_softmax(perturbed, k, tau).to(logits.dtype)
    return straight_through(k_hot_or_nan(logits.detach(), index, valid), soft) if hard else soft
