"""The policy gradient summed over all actions (Allen et al. 2017, https://arxiv.org/abs/1709.00503; mean actor-critic).

gradient of J = E sum_a grad pi(a | s) Q(s, a):   no noise comes from which action was taken

Q is a critic with one output for each action, learned on the rollout by TD(lambda) targets with V(s) = sum_a pi(a | s) Q(s, a),
plus beta H(pi(. | s)) where the objective is that of maximum entropy.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from discrete_lightning.control.advantage import generalized_advantage
from discrete_lightning.control.methods.base import Agent, ControlMethod, NetworkShape, step_weights
from discrete_lightning.control.rollout import Rollout
from discrete_lightning.control.statistics import counted_mean, explained_variance


@dataclass(frozen=True)
class AllActions(ControlMethod):
    """Gradient steps on each rollout: of the critic, and with the last of them of the policy.

    Args:
        critic_epochs: steps of the critic on each rollout, 1 or more.
        lambda_: of the critic's targets, in [0, 1].
        value_weight: of the critic's squared error.

    Raises:
        ValueError: if an argument is out of its range.
    """

    critic_epochs: int = 10
    lambda_: float = 0.95
    value_weight: float = 0.5
    single: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.critic_epochs < 1 or not 0 <= self.lambda_ <= 1:
            raise ValueError(f"AllActions: critic_epochs >= 1 and lambda_ in [0, 1], got {self}")

    def parts(self, shape: NetworkShape) -> dict[str, nn.Module]:
        return {"critic": shape.critic(shape.actions[0])}

    def update(self, agent: Agent) -> dict[str, Tensor]:
        rollout = agent.collect()
        for _ in range(self.critic_epochs - 1):
            error, _ = self.critic_loss(agent, rollout)
            agent.descend(self.value_weight * error)
        error, figures = self.critic_loss(agent, rollout)
        loss, more = self.policy_loss(agent, rollout)
        agent.descend(loss + self.value_weight * error)
        return figures | more

    def policy_loss(self, agent: Agent, rollout: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        """-mean (sum_a pi(a | s) Q(s, a) + beta H(pi(. | s)))."""
        policy, counted = agent.policy(rollout.observations, rollout.legal, rollout.counted), rollout.counted
        q = agent.parts["critic"](rollout.observations).float().detach()
        expected = (policy.probabilities[..., 0, :] * q).sum(-1)
        entropy, weights = policy.entropy(), step_weights(agent, rollout)
        score = -counted_mean(weights * expected, counted)
        loss = score - agent.beta * counted_mean(weights * entropy, counted)
        return loss, {"policy_loss": score.detach(), "entropy": counted_mean(entropy.detach(), counted)}

    def critic_loss(self, agent: Agent, rollout: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        """The squared error of Q(s_t, a_t) to its TD(lambda) target."""
        counted = rollout.counted
        with torch.no_grad():
            values, after = rollout.values(lambda observations, legal: soft_value(agent, observations, legal)[0])
            bonus = soft_value(agent, rollout.observations, rollout.legal)[1]
        found = generalized_advantage(
            rollout.rewards + bonus, values, after, rollout.terminated, rollout.truncated, agent.gamma, self.lambda_, counted
        )  # fmt: skip
        targets = found.targets - bonus  # the bonus of s_t is part of V(s_t), not of Q(s_t, a_t)
        q = agent.parts["critic"](rollout.observations).float().gather(-1, rollout.actions).squeeze(-1)
        error = counted_mean((q - targets).square() / 2, counted)
        return error, {
            "value_loss": error.detach(),
            "explained_variance": explained_variance(q.detach(), targets, counted),
        }


def soft_value(agent: Agent, observations: Tensor, legal: Tensor | None) -> tuple[Tensor, Tensor]:
    """V(s), and the part of it that is the bonus of s itself: beta H(pi(. | s)) under maximum entropy, else 0."""
    policy = agent.policy(observations, legal)
    q = agent.parts["critic"](observations).float()
    value = (policy.probabilities[..., 0, :] * q).sum(-1)
    bonus = agent.beta.detach() * policy.entropy() if agent.maximum_entropy else torch.zeros_like(value)
    return value + bonus, bonus
