"""Sampled episodes of a `TabularProcess`, and the score-function gradient of J = E sum_t gamma^t (r_t + beta H_t).

    dJ = E sum_t gamma^t [grad log pi(a_t|s_t) (Q_t - b(s_t)) + beta grad H(s_t)]
    Q_t = r_t + gamma (beta H_t+1 + Q_t+1)

from the policy gradient theorem (Sutton et al. 2000) with the entropies of later steps among the rewards. The baseline b(s_t)
of an episode is the mean Q of all visits that the other episodes paid to the same state (leave-one-out: Kool et al. 2019). It
does not depend on the episode's own actions, so the gradient is unbiased. Episodes are cut after `horizon` steps: what they
would have earned later, discounted by gamma^horizon or more, is left out.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.control.tables.process import TabularProcess
from discrete_lightning.control.tables.values import Weight, log_probabilities, policy_entropy


@dataclass(frozen=True, eq=False)
class Episodes:
    """What was visited: B policies, N episodes each, T steps.

    Attributes:
        states: int64 (T, B, N); where an episode is over, a number without meaning.
        choices: int64 (T, B, N), the actions.
        alive: bool (T, B, N), whether the episode reached this step.
    """

    states: Tensor
    choices: Tensor
    alive: Tensor


class TableSampler:
    """Draws episodes of a process, all at once.

    Args:
        process: the tables.

    Example:
        >>> from discrete_lightning.control.tables.deep_sea import deep_sea
        >>> right = torch.tensor([0.0, 1.0]).double().expand(1, 9, 2)
        >>> TableSampler(deep_sea(3)).draw(right, 1, 10, torch.Generator()).states.flatten()
        tensor([0, 4, 8])
    """

    def __init__(self, process: TabularProcess) -> None:
        self.process = process
        most = max(1, int((process.transitions > 0).sum(-1).max()))
        odds, self._following = process.transitions.topk(most, -1)  # the states that an action may lead to
        self._reach = _running_sum(odds)  # (S, A, M): beyond the last of them the episode is over
        self._start = _running_sum(process.start)

    def draw(self, policy: Tensor, count: int, horizon: int, generator: torch.Generator) -> Episodes:
        """Episodes of stacked policies.

        Args:
            policy: float64 (B, S, A), probabilities.
            count: N, of episodes of each policy.
            horizon: most steps of an episode, T at most.
            generator: on the device of the tables.
        """
        size, device = (policy.shape[0], count), policy.device
        thresholds = _running_sum(policy.detach())
        rows = torch.arange(len(policy), device=device).unsqueeze(-1).expand(size)
        noise = torch.rand(size, generator=generator, dtype=torch.float64, device=device)
        state = torch.searchsorted(self._start, noise, right=True).clamp_max(self.process.states - 1)
        alive = torch.ones(size, dtype=torch.bool, device=device)
        steps = []
        for _ in range(horizon):
            noise = torch.rand(2, *size, generator=generator, dtype=torch.float64, device=device).unsqueeze(-1)
            choice = (thresholds[rows, state] <= noise[0]).sum(-1).clamp_max(self.process.actions - 1)
            outcome = (self._reach[state, choice] <= noise[1]).sum(-1)
            steps.append((state, choice, alive))
            last = self._reach.shape[-1] - 1
            alive = alive & (outcome <= last)
            state = self._following[state, choice, outcome.clamp_max(last)]
            if not alive.any():
                break
        return Episodes(*(torch.stack(each) for each in zip(*steps, strict=True)))


def episode_objective(
    process: TabularProcess, policy: Tensor, episodes: Episodes, gamma: float, beta: Weight
) -> tuple[Tensor, Tensor]:
    """A function whose gradient is the estimate of dJ, and the estimate of J, (B,) each.

    Args:
        process: the tables; of them only the expected rewards of the actions taken are used.
        policy: float64 (B, S, A), of which the episodes were drawn.
        episodes: of `TableSampler.draw`.
        gamma: discount.
        beta: weight of the entropy bonus, a number or (B,).

    Raises:
        ValueError: there are fewer than two episodes of a policy: nothing to compare with.
    """
    states, choices, alive = episodes.states, episodes.choices, episodes.alive
    horizon, batch, count = states.shape
    if count < 2:
        raise ValueError(
            f"the baseline of an episode is the mean over the others: take 2 episodes or more, got {count}"
        )
    weight = torch.as_tensor(beta, dtype=policy.dtype, device=policy.device).expand(batch).unsqueeze(-1)
    rows = torch.arange(batch, device=states.device).unsqueeze(-1)
    bonus = weight * policy_entropy(policy)  # (B, S)
    with torch.no_grad():
        counted = alive.to(policy.dtype)
        rewards, entropies = process.rewards[states, choices], bonus[rows, states]
        q, following = torch.empty_like(rewards), torch.zeros_like(rewards[0])
        for t in reversed(range(horizon)):
            q[t] = rewards[t] + gamma * following
            following = counted[t] * (q[t] + entropies[t])
        discounted = counted * gamma ** torch.arange(horizon, device=states.device, dtype=policy.dtype).view(-1, 1, 1)
        advantages = discounted * (q - _others(q, counted, states, policy.shape[1])) / count
        place = rows * policy.shape[1] + states
        taken = _summed(advantages, place * policy.shape[2] + choices, policy.numel()).view_as(policy)
        visits = _summed(discounted / count, place, bonus.numel()).view_as(bonus)
    return (taken * log_probabilities(policy)).sum((-1, -2)) + (visits * bonus).sum(-1), following.mean(-1)


def _others(q: Tensor, counted: Tensor, states: Tensor, number: int) -> Tensor:
    """Of each visit the mean of `q` over the other episodes' visits to its state; to any state where there are none."""
    _, batch, count = states.shape
    own = torch.arange(batch * count, device=states.device).view(batch, count)
    place = own * number + states
    values = _summed(counted * q, place, batch * count * number).view(batch, count, number)
    visits = _summed(counted, place, batch * count * number).view(batch, count, number)
    values, visits = values.sum(1, keepdim=True) - values, visits.sum(1, keepdim=True) - visits
    anywhere = values.sum(-1) / visits.sum(-1).clamp_min(1)  # (B, N)
    here, there = visits.flatten()[place], values.flatten()[place]
    return torch.where(here > 0, there / here.clamp_min(1), anywhere)


def _summed(values: Tensor, places: Tensor, size: int) -> Tensor:
    """Sums of the values of each place: index_add_, which has a deterministic form on CUDA."""
    return values.new_zeros(size).index_add_(0, places.flatten(), values.flatten())


def _running_sum(probabilities: Tensor) -> Tensor:
    """Sums of the first 1, 2, ... numbers along the last dimension; cumsum has no deterministic form on CUDA."""
    size = probabilities.shape[-1]
    return probabilities @ torch.ones(size, size, dtype=probabilities.dtype, device=probabilities.device).triu()
