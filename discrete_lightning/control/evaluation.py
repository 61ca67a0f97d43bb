"""Whole episodes of a policy that does not learn: their returns and lengths."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from discrete_lightning.control.collector import on_host
from discrete_lightning.control.vector.base import Observed, VectorEnvironments
from discrete_lightning.distributed import all_gather_rows

Act = Callable[[Observed], Tensor]


class EpisodeFigures(NamedTuple):
    """Of one episode of each environment, in the order of their numbers.

    Attributes:
        returns: undiscounted, float64 (n,).
        lengths: steps, int64 (n,).
    """

    returns: Tensor
    lengths: Tensor

    def over_ranks(self) -> "EpisodeFigures":
        """Those of all processes, in the order of ranks."""
        return EpisodeFigures(all_gather_rows(self.returns), all_gather_rows(self.lengths))


@torch.no_grad()
def run_episodes(
    environments: VectorEnvironments,
    act: Act,
    seed: int,
    limit: int | None = None,
    each: Callable[[], None] | None = None,
) -> EpisodeFigures:
    """One whole episode of each environment: not the first ones to end, which would be the short ones.

    Args:
        environments: n of them; those that have ended stand still.
        act: what there is to act on to actions, int64 (n, components).
        seed: of the environments' starts.
        limit: the most steps; None: until all have ended.
        each: called before each step.
    """
    now = environments.reset(seed)
    active = torch.ones(environments.count, dtype=torch.bool)
    returns = torch.zeros(environments.count, dtype=torch.float64)
    lengths = torch.zeros(environments.count, dtype=torch.int64)
    steps = 0
    while bool(active.any()) and (limit is None or steps < limit):
        if each is not None:
            each()
        step = on_host(environments.step(act(now), active))
        counted = active & step.counted
        returns += torch.where(counted, step.rewards.double(), 0.0)
        lengths += counted
        active = active & ~((step.terminated | step.truncated) & counted)
        now, steps = step.next, steps + 1
    return EpisodeFigures(returns, lengths)


def random_actions(environments: VectorEnvironments, total: int, seed: int) -> Act:
    """Acts by uniform draws among the legal actions of each component; those of `total` environments of all ranks are drawn."""
    generator = torch.Generator().manual_seed(seed)
    sizes, first = list(environments.actions), environments.first

    def act(now: Observed) -> Tensor:
        scores = torch.rand(total, sum(sizes), generator=generator)[first : first + environments.count]
        if now.legal is not None:
            scores = scores.masked_fill(~now.legal.cpu(), -1.0)
        return torch.stack([each.argmax(-1) for each in scores.split(sizes, -1)], -1)

    return act
