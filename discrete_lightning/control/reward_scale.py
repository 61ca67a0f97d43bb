"""Rewards divided by the running deviation of the discounted return (detail of OpenAI's baselines; Engstrom et al. 2020,
https://arxiv.org/abs/2005.12729, section 3, reward scaling)."""

import torch
from torch import Tensor

from discrete_lightning.control.rollout import Rollout
from discrete_lightning.control.running_norm import RunningNorm


class RewardScale(RunningNorm):
    """r_t to r_t / sqrt(variance of R), R_t = gamma R_t-1 + r_t within an episode; clipped to [-10, 10].

    Args:
        gamma: discount, in [0, 1].
    """

    def __init__(self, gamma: float) -> None:
        super().__init__(())
        self.gamma = gamma
        self.running: Tensor | None = None  # R of each environment

    @torch.no_grad()
    def forward(self, rollout: Rollout) -> Tensor:  # type: ignore[override]
        """Scaled rewards (T, n), by all that was seen, this rollout included."""
        n = rollout.rewards.shape[1]
        total = self.running if self.running is not None and len(self.running) == n else rollout.rewards.new_zeros(n)
        found = []
        ended = rollout.terminated | rollout.truncated
        for reward, end, counted in zip(rollout.rewards, ended, rollout.counted, strict=True):
            total = torch.where(counted, self.gamma * total + reward, total)
            found.append(total)
            total = total.masked_fill(end, 0.0)
        self.running = total
        self.update(torch.stack(found), rollout.counted)
        return self.scaled(rollout.rewards)
