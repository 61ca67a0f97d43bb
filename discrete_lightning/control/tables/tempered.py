"""How the objective J changes with the temperature of a policy softmax(logits / tau), exactly.

With logits Q_soft of the maximum-entropy optimum at bonus beta, held fixed, tau dJ/dtau is 0 at tau = beta, positive below and
negative above: an entropy bonus of weight beta pushes a learned temperature to beta.

Logits and temperature that are both learned are not identified: (theta, tau) and (c theta, c tau) are one policy, and where tau
ends depends on the learning rates. `normed` fixes the scale: logits are centred in each state and divided by their root mean
square over all decision states. Then the optimum has tau = beta / RMS(Q_soft - its mean in each state).
"""

import torch
from torch import Tensor, nn

from discrete_lightning.control.tables.process import TabularProcess
from discrete_lightning.control.tables.values import (
    Weight,
    log_probabilities,
    one_step_values,
    state_values,
    state_visits,
)
from discrete_lightning.layers.float32 import Float32State

FLAT = 2e-3  # of |J|: FrozenLake-v1 has .01 or more at all beta from .01 to 1, the other two below 1e-3 at beta <= .1
_APART = 1.1  # times the true temperature


def centred(logits: Tensor) -> Tensor:
    """Logits (..., S, A) less their mean in each state."""
    return logits - logits.mean(-1, keepdim=True)


def root_mean_square(logits: Tensor, decisions: Tensor) -> Tensor:
    """Of centred logits (..., S, A) over all actions of the states where `decisions` (S,) is True; shape (...)."""
    return centred(logits)[..., decisions, :].square().mean((-1, -2)).sqrt()


def normed(logits: Tensor, decisions: Tensor) -> Tensor:
    """Centred logits (..., S, A), divided by their root mean square over all decision states (S,).

    Not by that of each state: then no policy could be sure in one state and undecided in another.

    Example:
        >>> normed(torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.tensor([True, False]))
        tensor([[-1.,  1.],
                [ 0.,  0.]])
    """
    return centred(logits) / root_mean_square(logits, decisions)[..., None, None]


class NormedLogits(Float32State):
    """Learned logits (B, S, A) of fixed scale, see `normed`; float32 in every precision.

    Args:
        batch: B, number of policies; all start with the same random logits, since equal ones have no scale.
        decisions: bool (S,).
        actions: A.
        seed: of the first logits.

    Example:
        >>> NormedLogits(2, torch.ones(3, dtype=torch.bool), 4)().square().mean((1, 2)).detach()
        tensor([1.0000, 1.0000], dtype=torch.float64)
    """

    def __init__(self, batch: int, decisions: Tensor, actions: int, seed: int = 0) -> None:
        super().__init__()
        first = torch.randn(len(decisions), actions, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)
        self.logits = nn.Parameter(first.repeat(batch, 1, 1))
        self._decisions = decisions

    def forward(self) -> Tensor:
        """Float64 (B, S, A)."""
        return normed(self.logits.double(), self._decisions.to(self.logits.device))


def tempered_policy(logits: Tensor, tau: Weight) -> Tensor:
    """softmax(logits / tau), (..., S, A); tau a number or (...)."""
    return torch.softmax(logits / (tau[..., None, None] if isinstance(tau, Tensor) else tau), -1)


def temperature_derivative(
    process: TabularProcess, logits: Tensor, gamma: float, beta: Weight, tau: Weight
) -> tuple[Tensor, Tensor]:
    """J and tau dJ/dtau of pi = softmax(logits / tau), logits held: float64 (...), without a gradient to the logits.

    tau dJ/dtau = -sum_s d(s) Cov_pi(logits / tau, Q - beta log pi), by the policy gradient theorem, since
    tau dpi/dtau = -pi (logits - E_pi logits) / tau.

    Args:
        process: the tables.
        logits: (..., S, A).
        gamma: discount in [0, 1].
        beta: weight of the entropy bonus, a number or (...).
        tau: temperature, a number or (...).

    Example:
        >>> from discrete_lightning.control.tables.process import toy_text
        >>> from discrete_lightning.control.tables.soft_values import soft_value_iteration
        >>> lake = toy_text("FrozenLake-v1")
        >>> q, _ = soft_value_iteration(lake, gamma=0.95, beta=0.1)
        >>> derivatives = [temperature_derivative(lake, q, 0.95, 0.1, tau)[1].item() for tau in (0.05, 0.1, 0.2)]
        >>> derivatives[0] > 0.1, abs(derivatives[1]) < 1e-10, derivatives[2] < -0.1
        (True, True, True)
    """
    logits = logits.detach().to(process.rewards)
    policy = tempered_policy(logits, tau)
    values = state_values(process, policy, gamma, beta)
    weight = beta[..., None, None] if isinstance(beta, Tensor) else beta
    gains = one_step_values(process, values, gamma) - weight * log_probabilities(policy)
    spread = (policy * _less_mean(logits, policy) * _less_mean(gains, policy)).sum(-1)
    slope = (state_visits(process, policy, gamma) * spread).sum(-1)
    return values @ process.start, -slope / tau


def _less_mean(values: Tensor, policy: Tensor) -> Tensor:
    """Values (..., S, A) less their mean under the policy in each state."""
    return values - (policy * values).sum(-1, keepdim=True)


def steepness(process: TabularProcess, logits: Tensor, gamma: float, beta: Weight, tau: Weight) -> Tensor:
    """|tau dJ/dtau| at 1.1 times a temperature `tau` that is optimal, relative to |J| there.

    Below `FLAT` the gradient has all but vanished before the temperature arrives: the values of actions lie so far apart,
    measured in beta, that the policy is certain already.
    """
    objective, derivative = temperature_derivative(process, logits, gamma, beta, _APART * tau)
    return (derivative / objective).abs()
