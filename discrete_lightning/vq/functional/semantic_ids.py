"""Semantic IDs: items named by residual codes, those of equal codes told apart by one more token (Rajput et al. 2023, section
3.1; https://arxiv.org/abs/2305.05065)."""

import torch
from torch import Tensor


def with_collision_token(codes: Tensor) -> Tensor:
    """Codes with one more number, 0, 1, ... among the items whose codes are equal, in their order: no two rows are equal.

    Args:
        codes: integers (N, levels).

    Returns:
        int64 (N, levels + 1).

    Example:
        >>> with_collision_token(torch.tensor([[7, 1], [2, 3], [7, 1]]))
        tensor([[7, 1, 0],
                [2, 3, 0],
                [7, 1, 1]])
    """
    codes = codes.long()
    group = torch.unique(codes, dim=0, return_inverse=True)[1].reshape(-1)
    order = group.argsort(stable=True)
    ranked = group[order]
    place = torch.arange(len(codes), device=codes.device)
    starts = torch.ones_like(ranked, dtype=torch.bool)
    starts[1:] = ranked[1:] != ranked[:-1]
    first = torch.where(starts, place, 0).cummax(0).values if len(codes) else place
    token = torch.empty_like(place)
    token[order] = place - first
    return torch.cat([codes, token.unsqueeze(1)], 1)


def colliding(codes: Tensor) -> Tensor:
    """Which of the items (N, levels) share their codes with another: bool (N,).

    Example:
        >>> colliding(torch.tensor([[7, 1], [2, 3], [7, 1]]))
        tensor([ True, False,  True])
    """
    _, group, counts = torch.unique(codes, dim=0, return_inverse=True, return_counts=True)
    return counts[group.reshape(-1)] > 1
