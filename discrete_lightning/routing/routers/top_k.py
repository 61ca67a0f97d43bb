"""Top-k: the k largest logits, gates by a softmax (Mixtral: Jiang et al. 2024, https://arxiv.org/abs/2401.04088).

S = the k largest l;   g = softmax of l over S,   or p = softmax(l) restricted to S
"""

import torch
from torch import Tensor

from discrete_lightning.functional import softmax
from discrete_lightning.routing.routed import Routed
from discrete_lightning.routing.router import Router, check_gates_vary, no_loss


class TopKRouter(Router):
    """The k experts of the largest logits.

    The router's gradient is that of its gates alone: which experts are chosen has none.

    Args:
        dim: d of the tokens.
        count: N.
        k: experts of a token.
        normalise: whether the gates of a token sum to 1 (Mixtral); if not, they are the probabilities (DeepSeek-V2).
        balance: weight of the loss for an even load.
        z: weight of the z-loss.

    Raises:
        ValueError: if k = 1 and `normalise`: the gate would be the constant 1.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> routed = TopKRouter(dim=4, count=8, k=2)(torch.randn(3, 4))
        >>> routed.indices.shape, routed.gates.sum(-1).detach()
        (torch.Size([3, 2]), tensor([1., 1., 1.]))
    """

    def __init__(
        self, dim: int, count: int, k: int = 2, *, normalise: bool = True, balance: float = 1e-2, z: float = 0.0
    ) -> None:
        super().__init__(dim, count, k, balance=balance, z=z)
        check_gates_vary(self, normalise)
        self.normalise = self.gates_sum_to_one = normalise

    def route(self, logits: Tensor, mask: Tensor | None) -> Routed:
        return top_k(logits, self.k, self.normalise)


def top_k(logits: Tensor, k: int, normalise: bool) -> Routed:
    """The k largest logits, with gates that sum to 1, or are probabilities."""
    p = softmax(logits)
    values, indices = logits.topk(k, -1)
    gates = torch.softmax(values, -1) if normalise else p.gather(-1, indices)
    return Routed(indices, gates, logits, p, no_loss(logits))
