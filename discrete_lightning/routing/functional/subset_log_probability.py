"""Log-probability of the experts of a token, whatever the order in which they were drawn (Kool et al. 2020, arXiv 2002.06043).

p(S) = sum over the k! orders of prod_j softmax(logits without b_1, ..., b_{j-1})[b_j]     (Plackett-Luce, of Gumbel top-k)
"""

import torch
from torch import Tensor

from discrete_lightning.functional import log_probability
from discrete_lightning.functional._checks import as_indices


def subset_log_probability(logits: Tensor, subset: Tensor) -> Tensor:
    """Log-probability of drawing `subset` without replacement: `log_probability(..., k=k)` for indices.

    Args:
        logits: (..., N), any floating dtype; -inf masks an expert.
        subset: int64 (..., k), k different experts in any order; leading dimensions before those of `logits` are samples.

    Returns:
        float32 (float64 of float64 logits), in the shape of `subset` without its last dimension, with a gradient to the logits.

    Raises:
        ValueError: if the shapes do not fit, an expert stands twice, or a row of `logits` has no such subset.

    Example:
        >>> subset_log_probability(torch.zeros(4), torch.tensor([3, 1])).exp()  # one of six subsets
        tensor(0.1667)
    """
    chosen = as_indices(subset, "subset")
    leading = chosen.shape[chosen.ndim - logits.ndim : -1]
    if chosen.ndim < logits.ndim or leading != logits.shape[:-1]:
        raise ValueError(
            f"subset has the shape (..., k) of logits (..., N), after any dimensions of samples; got {tuple(chosen.shape)} for "
            f"logits of shape {tuple(logits.shape)}"
        )
    shape = (*chosen.shape[:-1], logits.shape[-1])
    k_hot = torch.zeros(shape, dtype=torch.float32, device=logits.device).scatter(-1, chosen, 1.0)
    return log_probability(logits, k_hot, k=chosen.shape[-1])
