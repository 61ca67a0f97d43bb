"""Gumbel top-k: exact draws of k of K categories without replacement (Kool et al. 2019, https://arxiv.org/abs/1903.06059).

    the k largest of logits + G, in falling order, are b_1, ..., b_k with the probability (Plackett-Luce)
    p(b_1, ..., b_k) = prod_j softmax(logits without b_1, ..., b_{j-1})[b_j]

It is the same as drawing one category after the other, each from the softmax over those that are left.
"""

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_categories, check_subset_rows, is_traced
from discrete_lightning.functional.gumbel import perturb


def gumbel_top_k(logits: Tensor, k: int, *, generator: torch.Generator | None = None) -> Tensor:
    """Draws k different categories, in the order of the Plackett-Luce distribution. No gradient.

    Args:
        logits: unnormalised log-probabilities (..., K), any floating dtype; -inf masks a category.
        k: number of categories drawn, 1 <= k <= K.
        generator: source of randomness.

    Returns:
        int64 indices (..., k), the first drawn first.

    Raises:
        ValueError: if k is out of range, or a row has NaN, +inf or fewer than k categories that are not masked.

    Example:
        >>> gumbel_top_k(torch.tensor([0.0, -torch.inf, 0.0]), 2).sort().values
        tensor([0, 2])
    """
    check_k(logits, k)
    return largest(perturb(logits.detach(), generator), logits, k)[0]


def subset_k_hot(logits: Tensor, k: int, *, generator: torch.Generator | None = None) -> Tensor:
    """gumbel_top_k as k-hot vectors, of the shape and dtype of `logits`. No gradient.

    Raises:
        ValueError: if k is out of range, or a row has NaN, +inf or fewer than k categories that are not masked (on an
            accelerator its result is NaN).

    Example:
        >>> subset_k_hot(torch.tensor([0.0, -torch.inf, 0.0]), 2)
        tensor([1., 0., 1.])
    """
    check_k(logits, k)
    return top_k_hot(perturb(logits.detach(), generator), logits.detach(), k)


def top_k_hot(scores: Tensor, logits: Tensor, k: int) -> Tensor:
    """The k largest of `scores` as a k-hot vector, in the shape and dtype of `logits`. No gradient.

    Args:
        scores: the logits themselves for the most likely categories, or perturbed for a draw; shape (..., K).
        logits: what the scores came from.
        k: number of categories, 1 <= k <= K.

    Raises:
        ValueError: if k is out of range, or a row has NaN, +inf or fewer than k categories that are not masked (on an
            accelerator its result is NaN).

    Example:
        >>> logits = torch.tensor([0.0, 2.0, 1.0])
        >>> top_k_hot(logits, logits, 2)
        tensor([0., 1., 1.])
    """
    check_k(logits, k)
    index, valid = largest(scores.detach(), logits, k)
    return k_hot_or_nan(logits, index, valid)


def check_k(logits: Tensor, k: int) -> None:
    """Raises ValueError unless `logits` are floating and have at least k >= 1 categories in the last dimension."""
    check_categories(logits, -1)
    if not 1 <= k <= logits.shape[-1]:
        raise ValueError(f"k must be between 1 and the number of categories, got k={k} of {logits.shape[-1]}")


def largest(scores: Tensor, logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Indices (..., k) of the k largest scores, the largest first, and for each row 0, or NaN if it is not valid.

    Raises:
        ValueError: if a row of `logits`, which `scores` came from, has NaN, +inf or fewer than k finite values.
    """
    values, index = scores.topk(k, -1)
    first, last = values[..., 0], values[..., -1]  # NaN and +inf come first, -inf last; each minus itself is NaN
    valid = (first - first) + (last - last)
    check_subset_rows(valid, logits, k)
    return index, valid


def k_hot_or_nan(like: Tensor, index: Tensor, valid: Tensor) -> Tensor:
    """k-hot vectors of `index` (..., k), of the shape and dtype of `like`; NaN in rows where `valid` is NaN. No gradient."""
    zeros = torch.zeros_like(like, memory_format=torch.contiguous_format, requires_grad=False)
    if is_traced():  # vmap has no batching rule for a scatter of tensors in place
        return zeros.scatter(-1, index, 1.0) * (valid.unsqueeze(-1) + 1).to(like.dtype)
    return zeros.scatter_(-1, index, (valid.unsqueeze(-1) + 1).to(like.dtype).expand(index.shape))


def all_chosen(logits: Tensor) -> Tensor:
    """The subset of all categories: ones, with a gradient of zero; k = K leaves nothing to choose.

    Raises:
        ValueError: if a logit is not finite.
    """
    valid = (logits.detach() - logits.detach()).sum(-1)
    check_subset_rows(valid, logits, logits.shape[-1])
    return logits * 0 + 1
