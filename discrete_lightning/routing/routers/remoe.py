"""ReMoE: gates by a ReLU (Wang et al. 2025, https://arxiv.org/abs/2412.14711, eq. 6-9).

    g = relu(l);   L = lambda / T sum_t sum_i f_i g_{t,i},   f_i = N / (k T) * (number of tokens with g_i > 0)
    lambda *= factor^sign(open - k / N)   after each step of the optimiser, `open` the share of gates > 0 on all ranks

The number of experts of a token varies; its mean is brought to k. Training starts with many, and gets cheaper.
"""

from typing import ClassVar

import torch
from torch import Tensor

from discrete_lightning.distributed import all_reduce_sum, global_mean
from discrete_lightning.functional import softmax
from discrete_lightning.functional._mask import zero_padding
from discrete_lightning.layers.constant_buffers import real_device
from discrete_lightning.layers.usage import count_indices
from discrete_lightning.routing.functional.balance_loss import weighted_sum
from discrete_lightning.routing.routed import Routed
from discrete_lightning.routing.router import Router, no_loss


class ReMoERouter(Router):
    """All experts with positive logits; the gates are these logits. Differentiable throughout.

    On the CPU only chosen experts run. On an accelerator, and compiled, rows are kept for all experts, since their number would
    have to be read; products skip those that were not chosen.

    Args:
        dim: d of the tokens.
        count: N.
        k: mean number of experts of a token that is aimed at.
        start: first weight of the L1 loss, > 0.
        factor: of its change at each step, > 1.
        z: weight of the z-loss.

    Attributes:
        sparsity_weight: lambda, 0-dim float32, equal on all ranks.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> routed = ReMoERouter(dim=4, count=8, k=2)(torch.randn(3, 4))
        >>> torch.equal(routed.taken, routed.gates > 0)
        True
    """

    gates_sum_to_one = False
    sparsity_weight: Tensor
    updated_state: ClassVar[str] = "weight of sparsity is"

    def __init__(
        self, dim: int, count: int, k: int = 2, *, start: float = 1e-8, factor: float = 1.2, z: float = 0.0
    ) -> None:
        super().__init__(dim, count, k, z=z)
        if not (start > 0 and factor > 1):
            raise ValueError(f"ReMoERouter needs start > 0 and factor > 1, got start={start}, factor={factor}")
        self.factor = factor
        first = torch.tensor(start, dtype=torch.float32, device=real_device())
        self.register_private("sparsity_weight", first)

    @property
    def has_loss(self) -> bool:
        return True

    @property
    def is_updated(self) -> bool:
        return True

    def route(self, logits: Tensor, mask: Tensor | None) -> Routed:
        gates = torch.relu(logits)
        everyone = torch.arange(self.count, device=logits.device).expand(logits.shape)
        return Routed(everyone, gates, logits, softmax(logits), no_loss(logits), taken=gates.detach() > 0)

    def _number_of_counts(self) -> int:
        return self.count + 1

    def _counts(self, routed: Routed, chosen: Tensor | None, mask: Tensor | None) -> Tensor:
        tokens = torch.ones_like(routed.logits[..., 0], dtype=torch.int64) if mask is None else mask
        return torch.cat([count_indices(routed.indices, self.count, chosen), tokens.sum().view(1)])

    def auxiliary_loss(self, routed: Routed, chosen: Tensor | None, mask: Tensor | None) -> Tensor:
        counts = all_reduce_sum(self._counts(routed, chosen, mask).float())
        weights = counts[:-1] * self.count / (self.k * counts[-1]).clamp_min(1)
        gates = routed.gates if mask is None else zero_padding(routed.gates, mask)
        tokens = gates[..., 0].numel() if mask is None else mask.sum()
        mean = global_mean(gates.reshape(-1, self.count).sum(0), tokens)
        return super().auxiliary_loss(routed, chosen, mask) + self.sparsity_weight * weighted_sum(mean, weights)

    def _apply_counts(self, counts: Tensor) -> None:
        more = counts[:-1].sum() / (counts[-1] * self.count).clamp_min(1) - self.k / self.count
        self.sparsity_weight.mul_(torch.where(counts[-1] > 0, self.factor ** torch.sign(more), 1.0))
