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
    assess,
    critic_error,
    entropic,
    episode_mean,
    step_weights,
)
from discrete_lightning.control.rollout import Rollout
from discrete_lightning.control.statistics import counted_mean


class EpisodeMethod(ControlMethod):
    """A score function of whole episodes: sums over steps, means over episodes. Subclasses say what the advantages are."""

    whole_episodes: ClassVar[bool] = True

    def update(self, agent: Agent) -> dict[str, Tensor]:
        loss, figures = self.loss(agent, agent.collect(whole_episodes=True))
        agent.descend(loss)
        return figures

    def loss(self, agent: Agent, rollout: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        """Minus the mean return of the episodes, with the score function's gradient, the bonus and the critic's error."""
        counted, weights = rollout.counted, step_weights(agent, rollout)
        policy = agent.policy(rollout.observations, rollout.legal, counted)
        entropy, log_p = policy.entropy(), policy.log_probability(rollout.actions)
        advantages, error, figures = self.advantages(agent, rollout, entropic(agent, rollout, entropy))
        score = -episode_mean((weights * advantages).detach() * torch.where(counted, log_p, 0.0), counted)
        loss = score - agent.beta * episode_mean(weights * entropy, counted) + error
        figures |= {"policy_loss": score.detach(), "entropy": counted_mean(entropy.detach(), counted)}
        return loss, figures

    def advantages(
        self, agent: Agent, rollout: Rollout, rewards: Tensor
    ) -> tuple[Tensor, Tensor | float, dict[str, Tensor]]:
        """Advantages (T, n), what a critic adds to the loss, and its figures."""
        raise NotImplementedError


def returns_to_go(agent: Agent, rollout: Rollout, rewards: Tensor) -> Tensor:
    """G_t (T, n) of the rewards of a rollout; nothing is left after its end."""
    zero = torch.zeros_like(rewards)
    return generalized_advantage(
        rewards, zero, zero, rollout.terminated, rollout.truncated, agent.gamma, 1.0, rollout.counted
    ).targets


@dataclass(frozen=True)
class REINFORCE(EpisodeMethod):
    """One gradient step on one whole episode of each environment.

    Args:
        critic: whether b(s) is a critic that learns G; otherwise 0. Where an episode is cut off by its time limit the critic
            also says what is left.
        value_weight: of the critic's squared error in the loss.
    """

    critic: bool = True
    value_weight: float = 0.5

    def parts(self, shape: NetworkShape) -> dict[str, nn.Module]:
        return {"critic": shape.critic()} if self.critic else {}

    def advantages(
        self, agent: Agent, rollout: Rollout, rewards: Tensor
    ) -> tuple[Tensor, Tensor | float, dict[str, Tensor]]:
        if not self.critic:
            return returns_to_go(agent, rollout, rewards), 0.0, {}
        values, found = assess(agent, rollout, rewards, 1.0)
        error, figures = critic_error(values, found.targets, rollout.counted)
        return found.advantages, self.value_weight * error, figures
