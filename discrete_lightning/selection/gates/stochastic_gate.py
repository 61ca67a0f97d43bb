"""Stochastic gates, STG (Yamada et al. 2020, https://arxiv.org/abs/1810.04247)."""

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import rank_generator
from discrete_lightning.functional._arguments import check_positive
from discrete_lightning.selection.functional.stochastic_gate import SIGMA, stochastic_gate, stochastic_gate_probability
from discrete_lightning.selection.gates.gate_layer import GateLayer, Per


class StochasticGate(GateLayer):
    """Gates clip(mu + noise, 0, 1), with normal noise.

    eval() opens a gate fully where mu > 1/2, else it closes it; `published_gates`, clip(mu, 0, 1), lie in between.

    Args:
        size, dim, per, width: see GateLayer.
        sigma: standard deviation of the noise, > 0.

    Attributes:
        mu: location, float32 (D,), near 0.5 at first.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> gate = StochasticGate(4)
        >>> round(gate.open_probability().mean().item(), 1)
        0.8
    """

    span = 1.0  # locations lie around 0 to 1, log-odds in a range that is three times as wide

    def __init__(self, size: int, dim: int = -1, per: Per = "row", width: int = 1, sigma: float = SIGMA) -> None:
        super().__init__(size, dim, per, width)
        check_positive(sigma=sigma)
        self.sigma = sigma
        self.mu = nn.Parameter(torch.empty(size, dtype=torch.float32))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """As in the authors' code: 0.5 + 0.01 N(0, 1)."""
        self.mu.normal_(0.5, 0.01)

    def sample(self, rows: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        location = self.mu.float().expand(*rows, self.size)
        generator = rank_generator(location.device, shared=not rows) if generator is None else generator
        return stochastic_gate(location, self.sigma, generator=generator)

    @torch.no_grad()
    def bound_(self) -> None:
        self.mu.clamp_(-2 * self.sigma, 1 + self.sigma)

    def open_probability(self) -> Tensor:
        return stochastic_gate_probability(self.mu, self.sigma)

    def scores(self) -> Tensor:
        return self.mu.detach().float() - 0.5

    def published_gates(self) -> Tensor:
        """The paper's gates of test time, float32 (D,), in [0, 1]."""
        return self.mu.detach().float().clamp(0.0, 1.0)
