"""How evenly experts are loaded, and how much the router knows, over all tokens of all ranks."""

import torch
from torch import Tensor
from torchmetrics import Metric

from discrete_lightning.functional._mask import positions_mask, zero_padding
from discrete_lightning.layers.usage import count_indices
from discrete_lightning.routing.routed import Routed


class ExpertLoad(Metric):
    """The load of the experts of one mixture over all updates since the last reset.

    `compute` gives 0-dim figures by name; `share()` is a vector, this rank's alone.

        load_violation    max c / mean c - 1, c_i the tokens of expert i: 0 at an even load (MaxVio, Wang et al. 2024,
                          https://arxiv.org/abs/2408.15664)
        dead_experts      the number of experts that got no token
        router_entropy    mean over tokens of H(p), in nats
        marginal_entropy  H(mean over tokens of p), in nats; minus router_entropy it is what the choice tells of a token

    Args:
        count: N.

    Example:
        >>> from discrete_lightning.routing import SwitchRouter
        >>> metric = ExpertLoad(count=4)
        >>> metric.update(SwitchRouter(dim=2, count=4)(torch.ones(6, 2)))  # equal tokens: one expert gets them
        >>> figures = metric.compute()
        >>> figures["load_violation"], figures["dead_experts"]
        (tensor(3.), tensor(3.))
    """

    is_differentiable = False
    full_state_update = False
    chosen: Tensor
    tokens: Tensor
    probability: Tensor
    nats: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        if count < 1:
            raise ValueError(f"ExpertLoad needs count >= 1, got {count}")
        self.count = count
        self.add_state("chosen", torch.zeros(count, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("tokens", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("probability", torch.zeros(count, dtype=torch.float32), dist_reduce_fx="sum")
        self.add_state("nats", torch.tensor(0.0, dtype=torch.float32), dist_reduce_fx="sum")

    @torch.no_grad()
    def update(self, routed: Routed, mask: Tensor | None = None) -> None:
        """Adds the tokens of a pass.

        Args:
            routed: what a router returned.
            mask: bool, of the shape of the tokens or of its first dimensions; False at padding.

        Raises:
            ValueError: if the router has another number of experts, or the mask does not fit.
        """
        p = routed.probabilities.detach().float()
        if p.shape[-1] != self.count:
            raise ValueError(f"ExpertLoad(count={self.count}) got what a router of {p.shape[-1]} experts returned")
        counted = torch.ones_like(p[..., 0], dtype=torch.bool) if mask is None else positions_mask(mask, p.shape[:-1])
        taken = counted.unsqueeze(-1).expand(routed.indices.shape)
        taken = taken if routed.taken is None else taken & routed.taken
        p = zero_padding(p, counted)
        # new tensors: a state that inference mode made (validate before fit) must not be changed in place
        self.chosen = self.chosen + count_indices(routed.indices, self.count, taken)
        self.tokens = self.tokens + counted.sum()
        self.probability = self.probability + p.reshape(-1, self.count).sum(0)
        self.nats = self.nats + torch.special.entr(p).sum()

    def share(self) -> Tensor:
        """Share of each expert among the choices that this rank has seen, float32 (N,)."""
        return self.chosen / self.chosen.sum().clamp_min(1)

    def compute(self) -> dict[str, Tensor]:
        share, tokens = self.share(), self.tokens.clamp_min(1)
        violation = (self.count * share.max() - 1).clamp_min(0)
        return {
            "load_violation": violation,
            "dead_experts": (self.chosen == 0).sum().float(),
            "router_entropy": self.nats / tokens,
            "marginal_entropy": torch.special.entr(self.probability / tokens).sum(),
        }
