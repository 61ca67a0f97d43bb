"""Hard concrete gates (Louizos et al. 2018, https://arxiv.org/abs/1712.01312)."""

import math

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import rank_generator
from discrete_lightning.selection.functional.hard_concrete import (
    BETA,
    GAMMA,
    ZETA,
    check_stretch,
    hard_concrete,
    hard_concrete_mean,
    hard_concrete_probability,
)
from discrete_lightning.selection.gates.gate_layer import GateLayer, Per


class HardConcrete(GateLayer):
    """Gates in [0, 1] that are exactly 0 or 1 with probabilities above 0: a stretched and clipped binary concrete draw.

    eval() opens a gate fully or closes it; `published_gates` are those of the paper's test time, which lie in between.

    Args:
        size, dim, per, width: see GateLayer.
        beta, gamma, zeta: see `functional.hard_concrete`.
        drop: the paper's drop rate r at first, in (0, 1): log_alpha starts near log((1 - r) / r).

    Attributes:
        log_alpha: location, float32 (D,).

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> gate = HardConcrete(4)
        >>> round(gate.open_probability().mean().item(), 1)
        0.8
    """

    def __init__(
        self,
        size: int,
        dim: int = -1,
        per: Per = "row",
        width: int = 1,
        beta: float = BETA,
        gamma: float = GAMMA,
        zeta: float = ZETA,
        drop: float = 0.5,
    ) -> None:
        super().__init__(size, dim, per, width)
        check_stretch(beta, gamma, zeta)
        if not 0 < drop < 1:
            raise ValueError(f"drop is a rate in (0, 1), got {drop}")
        self.beta, self.gamma, self.zeta, self.drop = beta, gamma, zeta, drop
        self.log_alpha = nn.Parameter(torch.empty(size, dtype=torch.float32))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """As in the paper: N(log((1 - r) / r), 0.01^2)."""
        self.log_alpha.normal_(math.log((1 - self.drop) / self.drop), 0.01)

    def sample(self, rows: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        location = self.log_alpha.float().expand(*rows, self.size)
        generator = rank_generator(location.device, shared=not rows) if generator is None else generator
        return hard_concrete(location, self.beta, self.gamma, self.zeta, generator=generator)

    @torch.no_grad()
    def bound_(self) -> None:
        self.log_alpha.clamp_(-5.0, 4.0)  # P(open) from 0.03 to 0.996

    def open_probability(self) -> Tensor:
        return hard_concrete_probability(self.log_alpha, self.beta, self.gamma, self.zeta)

    def scores(self) -> Tensor:
        return self.log_alpha.detach().float()

    def published_gates(self) -> Tensor:
        """The paper's gates of test time, float32 (D,), in [0, 1]."""
        return hard_concrete_mean(self.log_alpha.detach(), self.gamma, self.zeta)
