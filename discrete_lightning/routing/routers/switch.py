"""Switch: one expert, weighted by its probability (Fedus et al. 2021, https://arxiv.org/abs/2101.03961).

D = argmax l,   y = p_D f_D(x);   in training l comes from x * U(1 - eps, 1 + eps)
"""

import torch
from torch import Tensor

from discrete_lightning.distributed import rank_generator
from discrete_lightning.functional._random import uniform
from discrete_lightning.routing.routed import Routed
from discrete_lightning.routing.router import Router
from discrete_lightning.routing.routers.top_k import top_k


class SwitchRouter(Router):
    """The one expert of the largest logit; its gate is its probability.

    Args:
        dim: d of the tokens.
        count: N.
        jitter: eps of the noise on the router's input in training, in [0, 1).
        balance: weight of the loss for an even load.
        z: weight of the z-loss.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> routed = SwitchRouter(dim=4, count=8).eval()(torch.randn(3, 4))
        >>> torch.equal(routed.gates[:, 0], routed.probabilities.amax(-1))
        True
    """

    gates_sum_to_one = False

    def __init__(self, dim: int, count: int, *, jitter: float = 1e-2, balance: float = 1e-2, z: float = 0.0) -> None:
        super().__init__(dim, count, 1, balance=balance, z=z)
        if not 0 <= jitter < 1:
            raise ValueError(f"SwitchRouter: jitter must be in [0, 1), got {jitter}")
        self.jitter = jitter

    def scores(self, x: Tensor) -> Tensor:
        if self.training and self.jitter:
            u = uniform(x.shape, dtype=torch.float32, device=x.device, generator=rank_generator(x.device))
            x = x * (1 + self.jitter * (2 * u - 1)).to(x.dtype if x.dtype == torch.float64 else torch.float32)
        return super().scores(x)

    def route(self, logits: Tensor, mask: Tensor | None) -> Routed:
        return top_k(logits, 1, normalise=False)
