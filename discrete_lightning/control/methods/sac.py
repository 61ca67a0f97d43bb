"""Soft actor-critic for discrete actions (Haarnoja et al. 2018, https://arxiv.org/abs/1812.05905; Christodoulou 2019,
https://arxiv.org/abs/1910.07207).

    critics  (Q_i(s, a) - r - gamma (1 - terminated) V(s'))^2 / 2
             V(s') = sum_a pi(a | s') min_i Q'_i(s', a) [+ beta H(pi(. | s'))],   Q' moving averages of Q
    policy   -sum_a pi(a | s) min_i Q_i(s, a) - beta H(pi(. | s))

Expectations over actions are exact sums. The bonus inside V is there under `objective: maximum_entropy`, the paper's; without
it the critics know of rewards alone, which was found to be the better coupling on Atari (https://arxiv.org/abs/2509.09838).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from discrete_lightning.control.methods.base import Agent, ControlMethod, NetworkShape
from discrete_lightning.control.replay import Replay, Transitions
from discrete_lightning.control.statistics import counted_mean
from discrete_lightning.control.target_entropy import TargetEntropy
from discrete_lightning.layers.float32 import FixedDtype


@dataclass(frozen=True)
class SAC(ControlMethod):
    """Off-policy: some gradient steps on a memory of transitions after each rollout.

    Args:
        batch_size: transitions of a gradient step, of all processes together.
        gradient_steps: after each rollout, 1 or more.
        capacity: transitions that are remembered, of all processes together.
        warm_up: environment steps, of all processes together, before the first gradient step.
        smoothing: share by which the target critics move to the critics in each step, in (0, 1].
        target_epsilon: the entropy bonus learns its weight so that the mean entropy is that of a policy that takes a random
            action with this probability; None: the module's `entropy_weight` stays.

    Raises:
        ValueError: if an argument is out of its range.
    """

    batch_size: int = 128
    gradient_steps: int = 8
    capacity: int = 100_000
    warm_up: int = 1_000
    smoothing: float = 0.005
    target_epsilon: float | None = 0.1
    single: ClassVar[bool] = True
    weighs_steps: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if min(self.batch_size, self.gradient_steps, self.capacity) < 1 or self.warm_up < 0:
            raise ValueError(f"SAC: sizes are 1 or more, got {self}")
        if self.capacity <= self.warm_up:
            raise ValueError(
                f"SAC: a memory of capacity={self.capacity} never holds more than warm_up={self.warm_up} steps"
            )
        if not 0 < self.smoothing <= 1:
            raise ValueError(f"SAC: smoothing is in (0, 1], got {self.smoothing}")

    def parts(self, shape: NetworkShape) -> dict[str, nn.Module]:
        count = shape.actions[0]
        found: dict[str, nn.Module] = {f"critic{i}": shape.critic(count) for i in (1, 2)}
        for i in (1, 2):
            target = shape.critic(count)
            target.load_state_dict(found[f"critic{i}"].state_dict())
            found[f"target{i}"] = MovingAverage(target)
        if self.target_epsilon is not None:
            found["weight"] = TargetEntropy(count, self.target_epsilon)
        return found

    def memory(self) -> Replay:
        """An empty memory."""
        return Replay(self.capacity)

    def update(self, agent: Agent) -> dict[str, Tensor]:
        replay, total = agent.memory, agent.collector.total
        assert replay is not None
        replay.add(agent.collect(), total)
        figures: list[dict[str, Tensor]] = []
        if len(replay) * total > max(self.warm_up, 1):
            for _ in range(self.gradient_steps):
                loss, each = self.loss(agent, replay.sample(self.batch_size, agent.collector))
                agent.descend(loss)
                self._move_targets(agent.parts)
                figures.append(each)
        if not figures:
            return {}
        return {name: torch.stack([each[name] for each in figures]).mean() for name in figures[0]}

    def loss(self, agent: Agent, batch: Transitions) -> tuple[Tensor, dict[str, Tensor]]:
        """The losses of critics, policy and the bonus's weight, each with a gradient to its own parameters alone."""
        parts, counted = agent.parts, batch.counted
        weight: Any = parts["weight"] if self.target_epsilon is not None else None
        beta = (agent.beta if weight is None else weight.weight()).detach()
        with torch.no_grad():
            following = agent.policy(batch.after, batch.legal_after)
            lower = torch.minimum(parts["target1"](batch.after), parts["target2"](batch.after)).float()
            value = (following.probabilities[:, 0] * lower).sum(-1)
            if agent.maximum_entropy:
                value = value + beta * following.entropy()
            target = batch.rewards + agent.gamma * value.masked_fill(batch.terminated, 0.0)
        q = [parts[f"critic{i}"](batch.observations).float() for i in (1, 2)]
        error = sum(
            (counted_mean((each.gather(-1, batch.actions)[:, 0] - target).square() / 2, counted) for each in q),
            torch.zeros_like(target[:0].sum()),
        )
        policy = agent.policy(batch.observations, batch.legal, counted)
        entropy = policy.entropy()
        lower = torch.minimum(*q).detach()
        score = -counted_mean((policy.probabilities[:, 0] * lower).sum(-1), counted)
        mean_entropy = counted_mean(entropy, counted)
        loss = error + score - beta * mean_entropy
        if weight is not None:
            number = None if batch.legal is None else batch.legal.sum(-1)
            loss = loss + weight(entropy.detach(), number, counted)
        figures = {"value_loss": error.detach(), "policy_loss": score.detach(), "entropy": mean_entropy.detach()}
        return loss, figures | {"entropy_weight": beta}

    @torch.no_grad()
    def _move_targets(self, parts: nn.ModuleDict) -> None:
        for i in (1, 2):
            pairs = zip(parts[f"target{i}"].parameters(), parts[f"critic{i}"].parameters(), strict=True)
            for target, source in pairs:
                target.lerp_(source.to(target), self.smoothing)


class MovingAverage(FixedDtype):
    """A critic that follows another one. It stays in float32 under every precision: in bf16 it would never move.

    Args:
        network: the critic to start from; its weights are not trained.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)

    def forward(self, observations: Tensor) -> Tensor:
        """Values, of observations (..., *shape)."""
        found: Tensor = self.network(observations)
        return found
