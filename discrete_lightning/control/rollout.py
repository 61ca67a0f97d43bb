"""What a policy did in several environments over some steps."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Rollout:
    """T steps of n environments, time first. `collect` makes them.

    Attributes:
        observations: what was acted on, (T, n, *shape).
        actions: int64 (T, n, components).
        rewards: float32 (T, n).
        terminated: bool (T, n): the episode came to an end of its own.
        truncated: bool (T, n): a time limit cut it off.
        counted: bool (T, n), False at rows that are no transitions: the step after an end in gymnasium's NEXT_STEP mode, and
            those of an environment that has stood still.
        last: observations after the last step, (n, *shape).
        final: observations that truncated steps led to, (k, *shape), in the order of `truncated.nonzero()`.
        legal: bool (T, n, sum of actions), or None: all are legal.
        last_legal: the same of `last`, (n, sum of actions).
        time: int64 (T, n), the number of each step in its episode, from 0 on.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    terminated: Tensor
    truncated: Tensor
    counted: Tensor
    last: Tensor
    final: Tensor
    legal: Tensor | None
    last_legal: Tensor | None
    time: Tensor

    @property
    def steps(self) -> int:
        """T."""
        return len(self.rewards)

    def values(self, critic: Callable[[Tensor, Tensor | None], Tensor]) -> tuple[Tensor, Tensor]:
        """V of what was acted on, and of what each step led to, (T, n) each, in one pass.

        Args:
            critic: observations (N, *shape) and legal actions (N, sum of actions) or None to values (N,). Of what cut-off
                episodes led to nobody has said which actions are legal: there all are.
        """
        flat, legal = torch.cat([self.observations.flatten(0, 1), self.last, self.final]), None
        if self.legal is not None and self.last_legal is not None:
            unknown = self.legal.new_ones(len(self.final), self.legal.shape[-1])
            legal = torch.cat([self.legal.flatten(0, 1), self.last_legal, unknown])
        found = critic(flat, legal)
        rows, n = self.rewards.numel(), self.rewards.shape[1]
        all_of = found[: rows + n].view(self.steps + 1, n)
        after = all_of[1:].clone()
        after[self.truncated] = found[rows + n :]
        return all_of[:-1], after
