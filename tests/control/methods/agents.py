"""An agent without Lightning: a table of logits, critics that are exact, and no environment."""

from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.control.policy import CategoricalPolicy
from discrete_lightning.control.replay import Replay
from discrete_lightning.control.rollout import Rollout
from discrete_lightning.layers.temperature import LossWeight
from tests.references.decision_process import ACTIONS, HORIZON, STATES


class Table(nn.Module):
    """Outputs of each state, whatever the time; or of each state at each time, fixed."""

    def __init__(self, values: Tensor, timed: bool = False) -> None:
        super().__init__()
        self.values, self.timed = nn.Parameter(values.double().clone()), timed

    def forward(self, observations: Tensor) -> Tensor:
        places = observations.double().view(*observations.shape[:-1], STATES, HORIZON + 1)
        if self.timed:
            return torch.einsum("...st,tsa->...a", places, self.values)
        return places.sum(-1) @ self.values


class OneEnvironment:
    """What minibatches ask of environments."""

    count, first = 1, 0


class HandCollector:
    """A collector of one environment."""

    total, environments, device = 1, OneEnvironment(), torch.device("cpu")

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)


class HandAgent:
    """`Agent` with made-up rollouts; `gradients` are those of the policy's table at each step."""

    def __init__(
        self, logits: Tensor, gamma: float, beta: float, maximum_entropy: bool, parts: dict[str, nn.Module]
    ) -> None:
        self.table = Table(logits)
        self.policy = CategoricalPolicy(self.table, ACTIONS)
        self.parts: Any = nn.ModuleDict(parts)
        self.memory: Replay | None = None
        self.gamma, self.steps, self.maximum_entropy, self.discounted = gamma, HORIZON, maximum_entropy, gamma < 1
        self.weight = LossWeight(beta)
        self.collector: Any = HandCollector()
        self.rollout: Rollout | None = None
        self.gradients: list[Tensor] = []

    @property
    def beta(self) -> Tensor:
        return self.weight().double()

    def collect(self, whole_episodes: bool = False) -> Rollout:
        assert self.rollout is not None
        return self.rollout

    def saw(self, rollout: Rollout) -> None:
        """Nothing is kept."""

    def descend(self, loss: Tensor) -> None:
        """Notes the gradient, and takes no step."""
        self.gradients.append(torch.autograd.grad(loss, self.table.values)[0])
