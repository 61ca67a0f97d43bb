"""What a method of policy optimisation is, and what it asks of the agent that it trains."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from discrete_lightning.control.advantage import Advantages, generalized_advantage
from discrete_lightning.control.collector import Collector
from discrete_lightning.control.networks import Activation, ControlMLP
from discrete_lightning.control.policy import CategoricalPolicy
from discrete_lightning.control.replay import Replay
from discrete_lightning.control.rollout import Rollout
from discrete_lightning.control.running_norm import RunningNorm
from discrete_lightning.control.statistics import counted_mean, explained_variance
from discrete_lightning.distributed import global_mean


@dataclass(frozen=True)
class NetworkShape:
    """What a method's networks are built for.

    Attributes:
        observation: shape of one.
        actions: number of actions of each component.
        hidden: units of each hidden layer.
        activation: between layers.
        norm: of observations, shared by all networks.
    """

    observation: tuple[int, ...]
    actions: tuple[int, ...]
    hidden: tuple[int, ...]
    activation: Activation
    norm: RunningNorm | None = None

    def critic(self, outputs: int = 1) -> ControlMLP:
        """A network of values."""
        return ControlMLP(self.observation, outputs, self.hidden, self.activation, norm=self.norm)


class Agent(Protocol):
    """What a method trains.

    Attributes:
        policy: over actions.
        parts: the method's own modules, by name.
        gamma: discount.
        memory: what the method's `memory` made.
        steps: of a rollout, in each environment.
        maximum_entropy: whether later entropies are part of the returns; otherwise the bonus is in the loss alone.
        discounted: whether step t of an episode weighs gamma^t, as the gradient of the discounted return has it.
    """

    policy: CategoricalPolicy
    parts: nn.ModuleDict
    memory: Replay | None
    gamma: float
    steps: int
    maximum_entropy: bool
    discounted: bool

    @property
    def collector(self) -> Collector:
        """Of the environments."""

    @property
    def beta(self) -> Tensor:
        """Weight of the entropy bonus, 0-dim."""

    def collect(self, whole_episodes: bool = False) -> Rollout:
        """A rollout with rewards as they are learned from: scaled, with an intrinsic bonus."""

    def saw(self, rollout: Rollout) -> None:
        """Takes note of a rollout that `collect` did not make, for running statistics."""

    def descend(self, loss: Tensor) -> None:
        """One step of the optimiser, on the gradient of all ranks."""


class ControlMethod:
    """A method of policy optimisation: a frozen dataclass of its settings.

    Attributes:
        path: whether the gradient goes through the environment, by an estimator.
        whole_episodes: whether it learns from whole episodes, from their start to their end.
        weighs_steps: whether it can weigh step t of an episode by gamma^t.
        single: whether it can only choose one action at a time.
    """

    path: ClassVar[bool] = False
    whole_episodes: ClassVar[bool] = False
    weighs_steps: ClassVar[bool] = True
    single: ClassVar[bool] = False

    def parts(self, shape: NetworkShape) -> dict[str, nn.Module]:
        """Modules of the method's own, such as a critic."""
        return {}

    def memory(self) -> Replay | None:
        """Where transitions are remembered, if they are."""
        return None

    def check(self, environments: int) -> None:
        """For the start of a fit: raises ValueError if so many environments, of all processes, are too few."""

    def update(self, agent: Agent) -> dict[str, Tensor]:
        """Acts and learns once. Returns figures to log, equal on all ranks."""
        raise NotImplementedError


def check_lambda(value: float, name: str) -> None:
    """Raises ValueError unless lambda is in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: lambda_ is in [0, 1], got {value}")


def value_of(agent: Agent, observations: Tensor, part: str = "critic") -> Tensor:
    """V of observations, float32, without the last dimension of the network's output."""
    found: Tensor = agent.parts[part](observations)
    return found.squeeze(-1).float()


def assess(agent: Agent, rollout: Rollout, rewards: Tensor, lambda_: float) -> tuple[Tensor, Advantages]:
    """V of what was acted on, (T, n) with the critic's gradient, and the advantages and targets by it, without one."""
    values, after = rollout.values(lambda observations, _: value_of(agent, observations))
    found = generalized_advantage(
        rewards, values.detach(), after.detach(), rollout.terminated, rollout.truncated, agent.gamma, lambda_,
        rollout.counted,
    )  # fmt: skip
    return values, found


def critic_error(values: Tensor, targets: Tensor, counted: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Half the mean squared error of values, and what is logged of it."""
    error = counted_mean((values - targets).square() / 2, counted)
    explained = explained_variance(values.detach(), targets, counted)
    return error, {"value_loss": error.detach(), "explained_variance": explained}


def step_weights(agent: Agent, rollout: Rollout) -> Tensor | float:
    """The gamma^t that the gradient of the discounted return has at step t of an episode; 1 where it is left out, as usual."""
    if not agent.discounted or agent.gamma == 1:
        return 1.0
    return torch.pow(torch.tensor(agent.gamma, device=rollout.time.device), rollout.time)


def entropic(agent: Agent, rollout: Rollout, entropy: Tensor) -> Tensor:
    """Rewards, with the bonus of each state's entropy where the objective is that of maximum entropy. No gradient.

    The bonus of the state itself does not depend on the action: it is in the action's advantage only as part of a baseline.
    """
    if not agent.maximum_entropy:
        return rollout.rewards
    return rollout.rewards + agent.beta.detach() * torch.where(rollout.counted, entropy.detach(), 0.0)


def episode_mean(values: Tensor, counted: Tensor) -> Tensor:
    """The sum of `values` (T, n) over the counted steps, as a mean over the episodes of all ranks."""
    return global_mean(torch.where(counted, values, 0.0).sum(), counted.shape[1])


def minibatches(collector: Collector, steps: int, size: int) -> Iterator[Tensor | None]:
    """Rows of a flat rollout (steps * n) in an order drawn anew, `size` rows of all processes at a time: this process's part.
    None stands for all of them.

    All processes draw the same order of all rows, so that any number of them takes the same steps.
    """
    count, total, first = collector.environments.count, collector.total, collector.environments.first
    if size >= steps * total:
        yield None
        return
    order = torch.randperm(steps * total, generator=collector.generator)
    for chunk in order.split(size):
        if count == total:
            yield chunk.to(collector.device)
            continue
        time, place = chunk // total, chunk % total - first
        own = (place >= 0) & (place < count)
        yield (time[own] * count + place[own]).to(collector.device)
