"""Noisy top-k (Shazeer et al. 2017, https://arxiv.org/abs/1701.06538, eq. 3-5).

h_i = l_i + noise n_i softplus((W_n x)_i),  n ~ N(0, 1);   S = the k largest h;   g = softmax of h over S

The paper's `noise` is 1 throughout.
"""

import math

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import rank_generator
from discrete_lightning.functional._arguments import check_not_negative
from discrete_lightning.functional._precision import float32_matmul
from discrete_lightning.functional._random import uniform
from discrete_lightning.layers.temperature import LossWeight
from discrete_lightning.routing.routed import Routed
from discrete_lightning.routing.router import Router, check_gates_vary, linear_float32
from discrete_lightning.routing.routers.top_k import top_k


class NoisyTopKRouter(Router):
    """The k experts of the largest logits with noise of a learned size in training; without noise in eval().

    Args:
        dim: d of the tokens.
        count: N.
        k: experts of a token, at least 2: the gates sum to 1.
        noise: >= 0, of the choice; `WeightAnnealing(schedule, only="*noise")` moves it, for example to 0.1 at the end, where
            training routes as eval() does.
        balance: weight of the loss for an even load.
        z: weight of the z-loss.

    Attributes:
        noise_weight: (N, d), starts at 0: noise of deviation log 2.

    Example:
        >>> NoisyTopKRouter(dim=4, count=8, k=2).eval()(torch.randn(3, 4)).gates.shape
        torch.Size([3, 2])
    """

    def __init__(
        self, dim: int, count: int, k: int = 2, *, noise: float = 1.0, balance: float = 3e-2, z: float = 0.0
    ) -> None:
        super().__init__(dim, count, k, balance=balance, z=z)
        check_gates_vary(self, True)
        check_not_negative(noise=noise)
        self.noise = LossWeight(noise)
        self.noise_weight = nn.Parameter(torch.zeros(count, dim, dtype=torch.float32))

    @float32_matmul
    def scores(self, x: Tensor) -> Tensor:
        logits = linear_float32(x, self.weight)
        size = torch.nn.functional.softplus(linear_float32(x, self.noise_weight))
        if not self.training:
            return logits
        return logits + self.noise() * size * _normal(logits)

    def route(self, logits: Tensor, mask: Tensor | None) -> Routed:
        return top_k(logits, self.k, normalise=True)


def _normal(like: Tensor) -> Tensor:
    """Standard normal noise, different on each rank."""
    device = like.device
    u = uniform(like.shape, dtype=torch.float32, device=device, generator=rank_generator(device))
    return math.sqrt(2) * torch.erfinv((2 * u - 1).clamp(-1 + 2**-23, 1 - 2**-23))
