"""REINFORCE with leave-one-out baselines (Kool et al. 2019, https://openreview.net/forum?id=r1lgTGL5DE).

b_it = mean_{j != i} G_jt over the other episodes that still go on at step t; 0 where there is none

Unbiased, since the others' returns do not depend on this episode's actions; all episodes start from one distribution. It needs
no critic, and two episodes or more. Without a critic an episode that its time limit cuts off counts as ended there.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from discrete_lightning.control.advantage import generalized_advantage
from discrete_lightning.control.methods.base import Agent, ControlMethod, entropic
from discrete_lightning.control.methods.reinforce import score_loss
from discrete_lightning.control.rollout import Rollout
from discrete_lightning.distributed import all_gather_equal, all_reduce_sum, world_size


@dataclass(frozen=True)
class LeaveOneOut(ControlMethod):
    """One gradient step on one whole episode of each environment, compared with one another."""

    whole_episodes: ClassVar[bool] = True

    def update(self, agent: Agent) -> dict[str, Tensor]:
        if agent.collector.total < 2:
            raise ValueError(
                f"LeaveOneOut compares episodes with one another and needs 2 environments or more, the data has "
                f"{agent.collector.total}: set data.number"
            )
        loss, figures = self.loss(agent, agent.collect(whole_episodes=True))
        agent.descend(loss)
        return figures

    def loss(self, agent: Agent, rollout: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        """Minus the mean return of the episodes, with the leave-one-out gradient, and the bonus."""
        policy = agent.policy(rollout.observations, rollout.legal, rollout.counted)
        entropy = policy.entropy()
        rewards = entropic(agent, rollout, entropy)
        zero = torch.zeros_like(rewards)
        to_go = generalized_advantage(
            rewards, zero, zero, rollout.terminated, rollout.truncated, agent.gamma, 1.0, rollout.counted
        ).targets
        advantages = to_go - mean_of_others(to_go, rollout.counted)
        return score_loss(agent, rollout, policy.log_probability(rollout.actions), entropy, advantages)


@torch.no_grad()
def mean_of_others(values: Tensor, counted: Tensor) -> Tensor:
    """For each step and episode the mean of `values` (T, n) of the other episodes, of all ranks, that count at this step; 0
    where there is none. T may differ between ranks.

    Example:
        >>> mean_of_others(torch.tensor([[1.0, 2.0, 6.0]]), torch.tensor([[True, True, True]]))
        tensor([[4.0000, 3.5000, 1.5000]])
    """
    kept = torch.where(counted, values, 0.0)
    sums = torch.stack([kept.sum(1), counted.sum(1).to(values)])
    if world_size() > 1:
        steps = torch.tensor(len(values), device=values.device)
        longest = int(all_gather_equal(steps).max())
        sums = all_reduce_sum(torch.nn.functional.pad(sums, (0, longest - len(values))))[:, : len(values)]
    total, number = sums.unsqueeze(-1)
    return (total - kept) / (number - counted.to(values)).clamp_min(1) * (number > 1)
