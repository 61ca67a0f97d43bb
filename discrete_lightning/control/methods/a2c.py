"""Advantage actor-critic, synchronous (Mnih et al. 2016, https://arxiv.org/abs/1602.01783; A2C).

    loss = -mean A_t log pi(a_t | s_t) - beta H(pi(. | s_t)) + value_weight (V(s_t) - target_t)^2 / 2

A_t by generalised advantage estimation; with lambda = 1 they are the paper's n-step returns.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from discrete_lightning.control.methods.base import (
    Agent,
    ControlMethod,
    NetworkShape,
    assess,
    check_lambda,
    critic_error,
    entropic,
    step_weights,
)
from discrete_lightning.control.rollout import Rollout
from discrete_lightning.control.statistics import counted_mean, standardized


@dataclass(frozen=True)
class A2C(ControlMethod):
    """One gradient step on each rollout.

    Args:
        lambda_: of the advantages, in [0, 1].
        value_weight: of the critic's squared error.
        normalize: whether advantages are divided by their standard deviation, less their mean.
    """

    lambda_: float = 1.0
    value_weight: float = 0.5
    normalize: bool = False

    def __post_init__(self) -> None:
        check_lambda(self.lambda_, "A2C")

    def parts(self, shape: NetworkShape) -> dict[str, nn.Module]:
        return {"critic": shape.critic()}

    def update(self, agent: Agent) -> dict[str, Tensor]:
        loss, figures = self.loss(agent, agent.collect())
        agent.descend(loss)
        return figures

    def loss(self, agent: Agent, rollout: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss above."""
        policy, counted = agent.policy(rollout.observations, rollout.legal, rollout.counted), rollout.counted
        entropy = policy.entropy()
        values, found = assess(agent, rollout, entropic(agent, rollout, entropy), self.lambda_)
        advantages = standardized(found.advantages, counted) if self.normalize else found.advantages
        weights = step_weights(agent, rollout)
        log_p = policy.log_probability(rollout.actions)
        score = -counted_mean(weights * advantages * torch.where(counted, log_p, 0.0), counted)
        error, figures = critic_error(values, found.targets, counted)
        loss = score - agent.beta * counted_mean(weights * entropy, counted) + self.value_weight * error
        figures |= {"policy_loss": score.detach(), "entropy": counted_mean(entropy.detach(), counted)}
        return loss, figures
