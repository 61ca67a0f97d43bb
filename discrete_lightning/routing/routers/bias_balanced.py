"""Balance without an auxiliary loss (Wang et al. 2024, https://arxiv.org/abs/2408.15664; DeepSeek-V3, arXiv 2412.19437).

    S = the k largest sigmoid(l) + b;   g = sigmoid(l) over S, divided by its sum, times a constant
    b_i += speed * sign(mean c - c_i)   after each step of the optimiser, c_i the tokens that expert i got on all ranks

b is for the choice alone: in the gate it would learn.
"""

import torch
from torch import Tensor

from discrete_lightning.layers.constant_buffers import real_device
from discrete_lightning.layers.temperature import LossWeight
from discrete_lightning.routing.routed import Routed
from discrete_lightning.routing.router import Router, check_gates_vary, no_loss


class BiasBalancedRouter(Router):
    """The k experts of the largest sigmoid(logit) + bias. Biases fall where an expert gets more than the mean, else rise.

    Counts are those of all passes and ranks since the last step; padding does not count. The sign, not the difference, is used:
    a step in proportion to the counts would depend on the batch.

    Args:
        dim: d of the tokens.
        count: N.
        k: experts of a token.
        speed: step of the biases, >= 0. The papers take 1e-3 for many thousands of steps; ten times as much also balances a
            training of a few hundred. `WeightAnnealing(schedule, only="*speed")` moves it, for example to 0 at the end.
        normalise: whether the gates of a token are divided by their sum.
        scale: factor of the gates (2.5 in DeepSeek-V3).
        balance: weight of the loss for an even load, beside the biases.
        z: weight of the z-loss.

    Attributes:
        bias: b, float32 (N,), equal on all ranks; saved, and left alone by weight averaging.

    Raises:
        ValueError: if k = 1 and `normalise`: the gate would be a constant.

    Example:
        >>> router = BiasBalancedRouter(dim=4, count=8, k=2, speed=0.1)
        >>> optimizer = torch.optim.SGD(router.parameters(), lr=0.1)
        >>> router(torch.ones(32, 4)).gates.square().sum().backward()  # all tokens are equal: two experts get them
        >>> optimizer.step()
        >>> router.bias.sort().values
        tensor([-0.1000, -0.1000,  0.1000,  0.1000,  0.1000,  0.1000,  0.1000,  0.1000])
    """

    bias: Tensor
    updated_state = "bias is"

    def __init__(
        self,
        dim: int,
        count: int,
        k: int = 2,
        *,
        speed: float = 1e-2,
        normalise: bool = True,
        scale: float = 1.0,
        balance: float = 0.0,
        z: float = 0.0,
    ) -> None:
        super().__init__(dim, count, k, balance=balance, z=z)
        check_gates_vary(self, normalise)
        self.speed, self.normalise, self.scale = LossWeight(speed), normalise, scale
        self.gates_sum_to_one = normalise and scale == 1
        self.register_private("bias", torch.zeros(count, dtype=torch.float32, device=real_device()))

    @property
    def is_updated(self) -> bool:
        return True

    def route(self, logits: Tensor, mask: Tensor | None) -> Routed:
        scores = torch.sigmoid(logits)
        indices = (scores.detach() + self.bias).topk(self.k, -1).indices
        gates = scores.gather(-1, indices)
        if self.normalise:
            gates = gates / gates.sum(-1, keepdim=True).clamp_min(1e-20)
        p = scores / scores.sum(-1, keepdim=True).clamp_min(1e-20)
        return Routed(indices, gates * self.scale, logits, p, no_loss(logits))

    def _apply_counts(self, counts: Tensor) -> None:
        self.bias += self.speed() * torch.sign(counts.mean() - counts)
