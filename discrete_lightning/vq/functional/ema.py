"""Exponential moving averages of code statistics (van den Oord et al. 2017, appendix A.1; https://arxiv.org/abs/1711.00937).

N_k <- decay N_k + (1 - decay) n_k,   m_k <- decay m_k + (1 - decay) sum of the vectors of code k,   c_k = m_k / N_k
"""

import torch
from torch import Tensor

from discrete_lightning.functional._checks import as_indices, check_floating
from discrete_lightning.functional._precision import float32


@torch.no_grad()
def code_statistics(vectors: Tensor, indices: Tensor, num_codes: int) -> tuple[Tensor, Tensor]:
    """How many vectors fell on each code, and their sum. Never builds a one-hot matrix.

    Args:
        vectors: shape (..., D).
        indices: integers, shape (...), in [0, num_codes).
        num_codes: K.

    Returns:
        counts (K,) and sums (K, D), float32.

    Example:
        >>> code_statistics(torch.tensor([[1.0], [2.0]]), torch.tensor([1, 1]), 2)
        (tensor([0., 2.]), tensor([[0.],
                [3.]]))
    """
    check_floating(vectors, "vectors")
    flat = float32(vectors.detach()).reshape(-1, vectors.shape[-1])
    index = as_indices(indices).reshape(-1)
    counts = flat.new_zeros(num_codes).index_add_(0, index, flat.new_ones(1).expand(len(index)))
    sums = flat.new_zeros(num_codes, flat.shape[1]).index_add_(0, index, flat)
    return counts, sums


@torch.no_grad()
def ema_update_(average: Tensor, value: Tensor, decay: float | Tensor) -> Tensor:
    """Average <- decay * average + (1 - decay) * value, in place.

    Example:
        >>> ema_update_(torch.tensor([1.0]), torch.tensor([3.0]), decay=0.5)
        tensor([2.])
    """
    return average.lerp_(value, 1.0 - decay)


@torch.no_grad()
def codes_from_statistics(counts: Tensor, sums: Tensor, codes: Tensor, epsilon: float = 1e-5) -> Tensor:
    """The codes that the averages stand for, sums / counts; a code with a count below `epsilon` stays where it is.

    The usual Laplace smoothing of the counts instead pulls every unused code to the origin.

    Args:
        counts: shape (K,), averaged.
        sums: shape (K, D), averaged.
        codes: the present codes, shape (K, D).
        epsilon: the smallest count that moves a code.

    Example:
        >>> codes_from_statistics(torch.tensor([2.0, 0.0]), torch.tensor([[3.0], [0.0]]), torch.tensor([[1.0], [7.0]]))
        tensor([[1.5000],
                [7.0000]])
    """
    used = (counts > epsilon).unsqueeze(-1)
    return torch.where(used, sums / counts.clamp_min(epsilon).unsqueeze(-1), codes)
