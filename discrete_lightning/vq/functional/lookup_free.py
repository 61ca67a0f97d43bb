"""Look-up-free quantisation (Yu et al. 2023, https://arxiv.org/abs/2310.05737): one bit a channel, a codebook of all signs.

q = sign(z),   index = sum_i 2^i [z_i > 0]
p(c | z) = softmax_c(-|z - c|^2 / tau) over c in {-1, 1}^D: the bits are independent, P(bit i) = sigmoid(4 z_i / tau)
entropy loss = mean H(p(. | z)) - gamma * H(mean p(. | z))                                               (eq. 5)
"""

import torch
from torch import Tensor

from discrete_lightning.functional._checks import as_indices, check_floating, check_tau
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional.straight_through import straight_through

_GROUP = 8  # bits whose joint distribution is held: 256 probabilities a vector


def lookup_free(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Signs (..., D) with a straight-through gradient, in the dtype of `vectors`, and int64 indices (...).

    Example:
        >>> lookup_free(torch.tensor([[0.5, -2.0, 0.1]]))
        (tensor([[ 1., -1.,  1.]]), tensor([5]))
    """
    if not vectors.ndim or not 1 <= vectors.shape[-1] <= 62:
        raise ValueError(
            f"an index has 1 to 62 bits, one for each channel; got vectors of shape {tuple(vectors.shape)}"
        )
    check_floating(vectors, "vectors")
    positive = vectors.detach() > 0
    places = 2 ** torch.arange(vectors.shape[-1], device=vectors.device)
    signs = torch.where(positive, 1.0, -1.0).to(vectors.dtype)
    return straight_through(signs, vectors), (positive * places).sum(-1)


def lookup_free_decode(indices: Tensor, dim: int) -> Tensor:
    """The signs (..., dim), float32, that integer `indices` (...) stand for.

    Example:
        >>> lookup_free_decode(torch.tensor([5]), 3)
        tensor([[ 1., -1.,  1.]])
    """
    indices = as_indices(indices)
    places = 2 ** torch.arange(dim, device=indices.device)
    return (torch.div(indices.unsqueeze(-1), places, rounding_mode="floor") % 2).float() * 2 - 1


def soft_code_marginals(vectors: Tensor, tau: float = 0.01) -> list[Tensor]:
    """Sum over vectors of p(c | z), for the codes of each group of at most 8 bits.

    The entropies of these marginals add up to that of the whole code if the groups are independent, and to more otherwise;
    with up to 8 bits there is one group, and the value is exact.

    Args:
        vectors: shape (N, D).
        tau: temperature of the soft assignment, > 0.

    Returns:
        tensors of shape (2^b,), b the bits of each group, the first bit the least significant; they sum to N.

    Example:
        >>> soft_code_marginals(torch.tensor([[5.0, -5.0], [5.0, 5.0]]))
        [tensor([0., 1., 0., 1.])]
    """
    check_floating(vectors, "vectors")
    check_tau(tau)
    logits = float32(vectors) / (tau / 4.0)
    marginals = []
    for group in logits.split(_GROUP, dim=-1):
        joint = group.new_ones(len(group), 1)
        for bit in group.unbind(-1):
            on = torch.sigmoid(bit).unsqueeze(1)
            joint = torch.cat([joint * torch.sigmoid(-bit).unsqueeze(1), joint * on], 1)
        marginals.append(joint.sum(0))
    return marginals
