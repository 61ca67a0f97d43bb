"""Log-probability of discrete choices: a category, a binary value, or a subset drawn without replacement.

    category  log softmax(logits)[i]
    binary    log sigmoid(logits) of a 1, log sigmoid(-logits) of a 0
    subset    log of the sum over the k! orders of prod_j softmax(logits without b_1, ..., b_{j-1})[b_j]  (Plackett-Luce),
              or sum_{i in S} logits_i - log e_k(exp(logits))  (conditional Bernoulli, see conditional_bernoulli.py)

The sum over orders is an integral (Kool et al. 2020, https://arxiv.org/abs/2002.06043, appendix): in the race of gumbel_top_k
all of S arrive before the others. With w = exp(logits), R the sum of w outside S, and e^s the time of the first of the others,

    p(S) = integral over s of exp(s - e^s) prod_{i in S} (1 - exp(-e^s w_i / R))

The integrand is smooth and decays on both sides, so the trapezoid rule converges exponentially in 1 / step. It takes about
60 max(1, sqrt(k) / 2) points (float64: 160) of k terms, where the sum over orders would take k!.
"""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from discrete_lightning.functional._checks import (
    check_categories,
    check_elements,
    check_one_kind,
    check_rows,
    check_subset_rows,
    values_can_be_read,
)
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional.conditional_bernoulli import log_subset
from discrete_lightning.functional.gumbel_top_k import check_k

_STEP32, _STEP64 = 0.4, 0.25


SubsetDistribution = Literal["plackett_luce", "conditional_bernoulli"]


def log_probability(
    logits: Tensor,
    sample: Tensor,
    *,
    binary: bool = False,
    k: int | None = None,
    subsets: SubsetDistribution = "plackett_luce",
) -> Tensor:
    """Log-probability of `sample` under `logits`, with its gradient to the logits.

    The distributions are those that the estimators draw from at a forward temperature of 1: Categorical(softmax(logits)),
    Bernoulli(sigmoid(logits)), and for subsets, whatever the order in which they were drawn, the one that the attribute
    `subsets` of the estimator names: Plackett-Luce, save for SIMPLE.

    Args:
        logits: (..., K), any floating dtype; -inf masks a category. Log-odds of any shape if `binary`.
        sample: a one-hot vector in the last dimension; 0 and 1 of any shape if `binary`; a k-hot vector if `k` is given. Its
            shape is that of `logits` after any number of leading dimensions (samples).
        binary: whether `logits` are log-odds of Bernoulli variables.
        k: the number of categories in a subset, 1 <= k <= K.
        subsets: the distribution of subsets: "plackett_luce" (Gumbel top-k) or "conditional_bernoulli".

    Returns:
        float32 (float64 of float64 logits), in the shape of `sample` without its last dimension, or in the shape of `sample`
        if `binary`. -inf, with a gradient of zero, where the sample is impossible (a masked category, infinite log-odds of
        the other value). For subsets of Plackett-Luce the error of the result is at most 2e-5 (float64: 1e-10), plus
        rounding.

    Raises:
        ValueError: if `binary` and `k` are both given, the shapes do not fit, `subsets` is unknown, k is out of range, or (on
            the CPU, where looking costs nothing) logits have no distribution, or a sample has other entries than 0 and 1, or
            another number of ones: a relaxed sample has no probability.

    Example:
        >>> log_probability(torch.tensor([0.0, 0.0]), torch.tensor([0.0, 1.0]))
        tensor(-0.6931)
        >>> log_probability(torch.zeros(4), torch.tensor([0.0, 1.0, 0.0, 1.0]), k=2).exp()  # one of six subsets
        tensor(0.1667)
    """
    check_one_kind(binary, k)
    if subsets not in get_args(SubsetDistribution):
        raise ValueError(f"subsets must be one of {', '.join(get_args(SubsetDistribution))}, got {subsets!r}")
    if sample.shape[sample.ndim - logits.ndim :] != logits.shape:
        raise ValueError(
            f"sample must have the shape of logits after any number of leading dimensions, got {tuple(sample.shape)} for "
            f"logits of shape {tuple(logits.shape)}"
        )
    if binary:
        check_elements(logits)
        _check_sample(sample, None)
        scores = float32(logits)
        signed = torch.where(sample > 0.5, scores, -scores)
        return torch.where(
            signed.isneginf(), -torch.inf, torch.nn.functional.logsigmoid(signed.masked_fill(signed.isneginf(), 0.0))
        )
    check_categories(logits, -1)
    if k is not None:
        check_k(logits, k)
    _check_sample(sample, k or 1)
    _check_rows(logits, k)
    scores = float32(logits)
    masked = ((sample > 0.5) & scores.isneginf()).any(-1)
    scores = scores.clamp_min(-1e30)  # 0 * -inf would be NaN
    if k is None or k == 1:
        log_p = (sample.to(scores.dtype) * torch.log_softmax(scores, -1)).sum(-1)
    elif subsets == "conditional_bernoulli" and k < scores.shape[-1]:
        log_p = log_subset(scores, sample, k)
    else:
        log_p = _log_subset(scores.expand(sample.shape), sample, k)
    return torch.where(masked, -torch.inf, log_p)


def _check_rows(logits: Tensor, k: int | None) -> None:
    top = logits.detach().topk(k or 1, -1).values if values_can_be_read(logits) else None
    if top is not None:  # NaN and +inf come first, -inf last; each minus itself is NaN
        valid = (top[..., :1] - top[..., :1]) + (top[..., -1:] - top[..., -1:])
        if k is None:
            check_rows(valid, logits, -1)
        else:
            check_subset_rows(valid, logits, k)


def _check_sample(sample: Tensor, ones: int | None) -> None:
    if not sample.numel() or not values_can_be_read(sample):
        return
    values = sample.detach().float()
    chosen = values > 0.5
    if not ((values - chosen.float()).abs() < 0.01).all():  # hard + soft - soft is 1 up to rounding
        raise ValueError(
            "a sample has entries 0 and 1: a relaxed one has no probability, draw with `hard` or take its argmax"
        )
    if ones is not None and (chosen.sum(-1) != ones).any():
        raise ValueError(
            f"each sample has {ones} entries of 1 in the last dimension: give `k` for subsets, `binary` for 0 and 1"
        )


def _log_subset(scores: Tensor, sample: Tensor, k: int) -> Tensor:
    if k == scores.shape[-1]:
        return scores.sum(-1) * 0
    chosen = sample.topk(k, -1).indices
    rest = scores.masked_fill(sample > 0.5, -1e30).logsumexp(-1, keepdim=True)
    ratio = (scores.gather(-1, chosen) - rest).unsqueeze(-1)  # log(w_i / R)
    # an integrand of k factors is as narrow as 1 / sqrt(k)
    step, lowest = (_STEP64, -36.0) if scores.dtype == torch.float64 else (_STEP32, -18.0)
    step /= math.sqrt(max(1.0, k / 4))
    highest = math.log(k + 1 + 10 * math.sqrt(k + 1) + 30)  # e^s of an unlikely subset is about Gamma(k + 1)
    s = torch.arange(lowest, highest + step, step, dtype=scores.dtype, device=scores.device)
    log_time = ratio + s  # of e^s w_i / R
    arrived = torch.log(-torch.expm1(-log_time.clamp(-80.0, 5.0).exp()))  # 0 to float64 beyond e^5
    arrived = torch.where(log_time > -80.0, arrived, log_time)  # e^log_time would underflow
    return (arrived.sum(-2) + s - s.exp()).logsumexp(-1) + math.log(step)
