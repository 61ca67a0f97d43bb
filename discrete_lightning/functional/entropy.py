"""Entropies and divergences of categorical and Bernoulli variables given by their logits, all in nats and in float32."""

import math

import torch
from torch import Tensor

from discrete_lightning.functional._checks import (
    check_categories,
    check_elements,
    check_real,
    check_rows,
    check_weights,
)
from discrete_lightning.functional._precision import float32


def entropy(logits: Tensor, dim: int = -1) -> Tensor:
    """Entropy H(p) = -sum_i p_i log p_i of p = softmax(logits).

    Args:
        logits: unnormalised log-probabilities; a category at -inf adds nothing and gets no gradient.
        dim: dimension of the categories.

    Returns:
        float32 nats in [0, log K], of the shape of `logits` without `dim`.

    Raises:
        ValueError: if there is no category, or a row of `logits` has no distribution (NaN, +inf, all -inf).

    Example:
        >>> entropy(torch.tensor([[0.0, 0.0], [0.0, -torch.inf]]))
        tensor([0.6931, 0.0000])
    """
    check_categories(logits, dim)
    log_p = torch.log_softmax(float32(logits), dim)
    result = (log_p.exp() * -log_p.clamp_min(-1e30)).sum(dim)  # the clamp avoids 0 * -inf at a masked category
    check_rows(result.unsqueeze(dim), logits, dim)
    return result


def entropy_of_probabilities(p: Tensor) -> Tensor:
    """Entropy -sum_i p_i log p_i of a distribution without logits, such as a mean of several; finite gradients at p_i = 0.

    Args:
        p: shape (..., K), >= 0, each row summing to 1 (a row of zeros has entropy 0).

    Returns:
        nats in [0, log K], shape (...), of the dtype of `p`.

    Example:
        >>> entropy_of_probabilities(torch.tensor([[0.5, 0.5, 0.0], [0.25, 0.25, 0.5]]))
        tensor([0.6931, 1.0397])
    """
    return -torch.special.xlogy(p, p.clamp_min(torch.finfo(p.dtype).tiny)).sum(-1)


def binary_entropy(logits: Tensor) -> Tensor:
    """Entropy of Bernoulli variables of log-odds `logits`, elementwise, in [0, log 2].

    Raises:
        ValueError: if a logit is NaN.

    Example:
        >>> binary_entropy(torch.tensor([0.0, 1e4]))
        tensor([0.6931, 0.0000])
    """
    check_elements(logits)
    magnitude = float32(logits).abs().clamp_max(1e30)
    return torch.nn.functional.softplus(-magnitude) + magnitude * torch.sigmoid(-magnitude)


def kl_to_uniform(logits: Tensor, dim: int = -1) -> Tensor:
    """KL(softmax(logits) || uniform) = log K - H, in [0, log K]. Errors are those of `entropy`.

    Example:
        >>> kl_to_uniform(torch.zeros(3))
        tensor(0.)
    """
    nats = entropy(logits, dim)
    return (math.log(logits.shape[dim]) - nats).clamp_min(0.0)


def binary_kl_to_uniform(logits: Tensor) -> Tensor:
    """KL(Bernoulli(sigmoid(logits)) || Bernoulli(1/2)) = log 2 - H, elementwise, in [0, log 2].

    Example:
        >>> binary_kl_to_uniform(torch.tensor(1e4))
        tensor(0.6931)
    """
    return (math.log(2.0) - binary_entropy(logits)).clamp_min(0.0)


def kl_divergence(logits: Tensor, prior_logits: Tensor, dim: int = -1) -> Tensor:
    """KL(softmax(logits) || softmax(prior_logits)); +inf where the prior excludes a category that `logits` allow.

    Raises:
        ValueError: if there is no category, or a row of either has no distribution (NaN, +inf, all -inf).

    Example:
        >>> kl_divergence(torch.tensor([0.0, 0.0]), torch.tensor([0.0, 0.0])).item()
        0.0
    """
    log_p = _log_softmax(logits, dim, "logits")
    log_q = _log_softmax(prior_logits, dim, "prior_logits")
    p = log_p.exp()
    difference = log_p.clamp_min(-1e30) - torch.where(p > 0, log_q, torch.zeros_like(log_q))
    return (p * difference).sum(dim)


def _log_softmax(logits: Tensor, dim: int, name: str) -> Tensor:
    check_categories(logits, dim, name)
    log_p = torch.log_softmax(float32(logits), dim)
    check_rows(log_p.detach().amax(dim, keepdim=True), logits, dim, name)
    return log_p


def perplexity(counts: Tensor) -> Tensor:
    """exp(entropy) of the distribution proportional to `counts`: the effective number of codes in use.

    Args:
        counts: finite, non-negative counts or probabilities, shape (..., K).

    Returns:
        float32 in [1, K], shape (...); 0 where all counts are 0 (nothing seen).

    Raises:
        ValueError: if there is no code, or a count is NaN, infinite or negative.

    Example:
        >>> perplexity(torch.tensor([[5, 5, 0, 0], [0, 0, 0, 0]]))
        tensor([2., 0.])
    """
    check_real(counts, "counts")
    weights = counts.float()
    check_categories(weights, -1, "counts")
    check_weights(weights, "counts")
    total = weights.sum(-1, keepdim=True)
    p = weights / total.clamp_min(torch.finfo(torch.float32).tiny)
    return torch.where(total.squeeze(-1) > 0, entropy_of_probabilities(p).exp(), 0.0)
