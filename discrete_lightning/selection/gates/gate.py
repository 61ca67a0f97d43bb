"""Bernoulli gates with any gradient estimator."""

import math

import torch
from torch import Tensor, nn

from discrete_lightning.estimators import Estimator, StraightThrough
from discrete_lightning.functional import gumbel_sigmoid
from discrete_lightning.layers.relaxed import RelaxedBernoulli
from discrete_lightning.layers.temperature import Temperature
from discrete_lightning.selection.gates.gate_layer import Per
from discrete_lightning.selection.gates.sampled_gates import SampledGates


class Gate(SampledGates):
    """Gates z ~ Bernoulli(sigmoid(a)); the estimator says how the gradient passes through the draw.

    Args:
        size, dim, per, width: see GateLayer.
        estimator: any; `StraightThrough` by default. Those that need the loss's value (LeaveOneOut, DisARM) are used through
            `expectation`.
        temperature: of the estimator, a Temperature or a number.
        start: probability that a gate is open at first, in (0, 1).

    Attributes:
        logits: a, float32 (D,).
        sampler: RelaxedBernoulli: `use_estimator`, TemperatureAnnealing and ChoiceMonitor find it.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> gate = Gate(5)
        >>> gate(torch.ones(2, 5)).shape, round(gate.open_probability().sum().item(), 2)
        (torch.Size([2, 5]), 4.5)
        >>> gate.decide(torch.tensor([True, False, True, False, False]))
        >>> gate.eval()(torch.ones(2, 5))[0]
        tensor([1., 0., 1., 0., 0.])
    """

    def __init__(
        self,
        size: int,
        estimator: Estimator | None = None,
        dim: int = -1,
        per: Per = "row",
        width: int = 1,
        temperature: Temperature | float = 1.0,
        start: float = 0.9,
    ) -> None:
        super().__init__(size, dim, per, width)
        if not 0 < start < 1:
            raise ValueError(f"start is the probability that a gate is open at first, in (0, 1), got {start}")
        self.start = start
        self.sampler = RelaxedBernoulli(StraightThrough() if estimator is None else estimator, temperature)
        self.sampler.require_softmax(type(self).__name__)
        self.logits = nn.Parameter(torch.empty(size, dtype=torch.float32))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """All gates as open as `start` says, but for a little noise, which breaks ties."""
        self.logits.normal_(math.log(self.start / (1 - self.start)), 0.01)

    def exact_draw(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        return gumbel_sigmoid(logits, hard=True, generator=generator)

    @torch.no_grad()
    def bound_(self) -> None:
        self.logits.clamp_(-4.0, 4.0)  # P(open) from 0.02 to 0.98

    def open_probability(self) -> Tensor:
        return torch.sigmoid(self.logits.float())

    def scores(self) -> Tensor:
        return self.logits.detach().float()
