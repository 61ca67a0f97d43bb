"""REINFORCE with leave-one-out baselines (Kool et al. 2019, https://openreview.net/forum?id=r1lgTGL5DE).

b_it = mean_{j != i} G_jt over the other episodes that still go on at step t; 0 where there is none

Unbiased, since the others' returns do not depend on this episode's actions; all episodes start from one distribution. It needs
no critic, and two episodes or more. Without a critic an episode that its time limit cuts off counts as ended there.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.control.methods.base import Agent
from discrete_lightning.control.methods.reinforce import EpisodeMethod, returns_to_go
from discrete_lightning.control.rollout import Rollout
from discrete_lightning.distributed import all_gather_equal, all_reduce_sum, world_size


@dataclass(frozen=True)
class LeaveOneOut(EpisodeMethod):
    """One gradient step on one whole episode of each environment, compared with one another."""

    def check(self, environments: int) -> None:
        if environments < 2:
            raise ValueError(
                "LeaveOneOut compares episodes with one another and needs 2 environments or more, the data has "
                f"{environments}: set data.number"
            )

    def advantages(
        self, agent: Agent, rollout: Rollout, rewards: Tensor
    ) -> tuple[Tensor, Tensor | float, dict[str, Tensor]]:
        to_go = returns_to_go(agent, rollout, rewards)
        return to_go - mean_of_others(to_go, rollout.counted), 0.0, {}


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
