"""REINFORCE (Williams 1992, https://doi.org/10.1007/BF00992696), with a critic as the baseline or without one.

gradient of E G = E sum_t (G_t - b(s_t)) grad log pi(a_t | s_t),   G_t = sum_{k >= t} gamma^(k - t) r_k
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from discrete_lightning.control.advantage import generalized_advantage
from discrete_lightning.control.methods.base import (
    Agent,
    ControlMethod,
    NetworkShape,
    entropic,
    episode_mean,
    step_weights,
    value_of,
)
from discrete_lightning.control.rollout import Rollout
from discrete_lightning.control.statistics import counted_mean, explained_variance


@dataclass(frozen=True)
class REINFORCE(ControlMethod):
    """One gradient step on one whole episode of each environment.

    Args:
        critic: whether b(s) is a critic that learns G; otherwise 0. Where an episode is cut off by its time limit the critic
            also says what is left.
        value_weight: of the critic's squared error in the loss.
    """

    critic: bool = True
    value_weight: float = 0.5
    whole_episodes: ClassVar[bool] = True

    def parts(self, shape: NetworkShape) -> dict[str, nn.Module]:
        return {"critic": shape.critic()} if self.critic else {}

    def update(self, agent: Agent) -> dict[str, Tensor]:
        rollout = agent.collect(whole_episodes=True)
        loss, figures = self.loss(agent, rollout)
        agent.descend(loss)
        return figures

    def loss(self, agent: Agent, rollout: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        """Minus the mean return of the episodes, with the score function's gradient, the bonus and the critic's error."""
        policy = agent.policy(rollout.observations, rollout.legal, rollout.counted)
        entropy = policy.entropy()
        rewards = entropic(agent, rollout, entropy)
        values = after = torch.zeros_like(rewards)
        if self.critic:
            values, after = rollout.values(lambda observations, _: value_of(agent, observations))
        found = generalized_advantage(
            rewards, values.detach(), after.detach(), rollout.terminated, rollout.truncated, agent.gamma, 1.0,
            rollout.counted,
        )  # fmt: skip
        loss, figures = score_loss(agent, rollout, policy.log_probability(rollout.actions), entropy, found.advantages)
        if self.critic:
            error = counted_mean((values - found.targets).square() / 2, rollout.counted)
            figures["value_loss"] = error.detach()
            figures["explained_variance"] = explained_variance(values, found.targets, rollout.counted)
            loss = loss + self.value_weight * error
        return loss, figures


def score_loss(
    agent: Agent, rollout: Rollout, log_p: Tensor, entropy: Tensor, advantages: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of whole episodes: sums over steps, means over episodes."""
    weights, counted = step_weights(agent, rollout), rollout.counted
    score = -episode_mean((weights * advantages).detach() * torch.where(counted, log_p, 0.0), counted)
    loss = score - agent.beta * episode_mean(weights * entropy, counted)
    return loss, {"policy_loss": score.detach(), "entropy": counted_mean(entropy.detach(), counted)}
