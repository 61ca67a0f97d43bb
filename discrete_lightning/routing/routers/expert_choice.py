"""Expert choice: each expert takes its best tokens (Zhou et al. 2022, https://arxiv.org/abs/2202.09368).

    p = softmax of l over experts;   expert i takes the C = k n / N tokens of a row of n tokens with the largest p_i;   gates p

The load is even by construction. A token gets 0 to N experts, and which ones depends on later tokens of its row: not for
autoregressive models.
"""

from typing import ClassVar

import torch
from torch import Tensor

from discrete_lightning.functional import softmax
from discrete_lightning.routing.routed import Routed
from discrete_lightning.routing.router import Router, no_loss


class ExpertChoiceRouter(Router):
    """Each expert takes ceil(k n / N) of the n tokens of each row.

    Each row (sequence, image) is divided by itself, so that a row's result does not depend on the others.

    Args:
        dim: d of the tokens.
        count: N.
        k: mean number of experts of a token.
        z: weight of the z-loss.

    Example:
        >>> routed = ExpertChoiceRouter(dim=4, count=8, k=2)(torch.randn(3, 20, 4))
        >>> routed.taken.sum(1).unique()  # of the tokens of a row, by each expert
        tensor([5])
    """

    gates_sum_to_one = False
    sees_other_tokens: ClassVar[bool] = True

    def __init__(self, dim: int, count: int, k: int = 2, *, z: float = 0.0) -> None:
        super().__init__(dim, count, k, z=z)

    def route(self, logits: Tensor, mask: Tensor | None) -> Routed:
        if logits.ndim < 3:
            raise ValueError(
                f"ExpertChoiceRouter chooses among the tokens of a row: it takes (rows, tokens, dim), got tokens of shape "
                f"{(*logits.shape[:-1], self.dim)}. For rows that are one token each take another router"
            )
        p = softmax(logits)
        scores = p.detach() if mask is None else p.detach().masked_fill(~mask.unsqueeze(-1), -1.0)
        rank = scores.argsort(dim=-2, descending=True, stable=True).argsort(dim=-2)
        if mask is None:
            tokens: Tensor | int = logits.shape[-2]
        else:
            tokens = mask.sum(-1)[..., None, None]
        taken = rank < (self.k * tokens + self.count - 1) // self.count
        if mask is not None:
            taken = taken & mask.unsqueeze(-1)
        everyone = torch.arange(self.count, device=logits.device).expand(logits.shape)
        return Routed(everyone, torch.where(taken, p, 0.0), logits, p, no_loss(logits), taken=taken)
