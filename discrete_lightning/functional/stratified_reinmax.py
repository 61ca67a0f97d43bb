"""ReinMax (Liu et al. 2023, https://arxiv.org/abs/2304.08612) of several stratified draws; the combination is our own.

    forward   D_1 ... D_m, each ~ Categorical(p) and together stratified (stratified_categorical.py),  p = softmax(logits)
    backward  sum_i of ReinMax's gradient for D_i and its slope g_i

Each term has the mean of ReinMax. With M(D) = (D - p)(D - p)^T it is J(p) g + 1/2 (M(D) - J(p)) g: where g hardly depends on
the draw, what is left of sum_i M(D_i) - m J(p) after stratification is less than of independent draws, and so is the noise of
the slopes, for functions close to a sum over variables.
"""

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_tau
from discrete_lightning.functional.reinmax import reinmax_of
from discrete_lightning.functional.softmax import softmax
from discrete_lightning.functional.stratified_categorical import draw_stratified


def stratified_reinmax(
    logits: Tensor, tau: float | Tensor = 1.0, *, samples: int = 4, generator: torch.Generator | None = None
) -> Tensor:
    """One-hot draws (samples, ..., K), stratified, from Categorical(softmax(logits)) with ReinMax's gradient.

    Args:
        logits: shape (..., K), any floating dtype; -inf masks a category.
        tau: temperature of the backward pass, > 0, as ReinMax has it. It gets no gradient.
        samples: m >= 1.
        generator: source of randomness.

    Returns:
        One-hot samples of the dtype of `logits`, with a dimension of `samples` in front.

    Raises:
        ValueError: if tau is not positive, samples < 1, or a row of `logits` has no distribution.

    Example:
        >>> stratified_reinmax(torch.zeros(4), samples=4).sum(0)
        tensor([1., 1., 1., 1.])
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    check_tau(tau, logits=logits)
    with torch.no_grad():
        p = softmax(logits)
        p_tau = p if isinstance(tau, float | int) and tau == 1 else softmax(logits, tau)
        index = draw_stratified(p, samples, generator)
        p, p_tau = (x.expand(samples, *p.shape) for x in (p, p_tau))
    return reinmax_of(logits.expand(samples, *logits.shape), p, p_tau, index)
