"""A decision process of four states and two actions, small enough to write down every episode, and what its policies earn.

State 3 ends an episode; otherwise it is cut off after `HORIZON` steps. Everything here is plain enumeration in float64.
"""

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from discrete_lightning.control.rollout import Rollout

HORIZON, STATES, ACTIONS, END = 3, 4, 2, 3

# MOVES[state][action]: (probability, next state, reward)
STOCHASTIC = {
    0: [[(0.7, 1, 0.5), (0.3, 2, -1.0)], [(0.4, 2, 0.3), (0.6, 0, 0.1)]],
    1: [[(1.0, 3, 2.0)], [(0.5, 0, -0.2), (0.5, 2, 0.4)]],
    2: [[(0.2, 3, -0.5), (0.8, 1, 0.7)], [(1.0, 2, 0.2)]],
}
DETERMINISTIC = {0: [[(1.0, 1, 0.5)], [(1.0, 2, 0.3)]], 1: [[(1.0, 3, 2.0)], [(1.0, 0, -0.2)]],
                 2: [[(1.0, 1, 0.7)], [(1.0, 2, 0.2)]]}  # fmt: skip
START = {0: 0.6, 2: 0.4}
Process = dict[int, list[list[tuple[float, int, float]]]]


@dataclass(frozen=True)
class Episode:
    """One way to go: states s_0 ... s_T, actions, rewards, and the probability of all but the actions."""

    states: tuple[int, ...]
    actions: tuple[int, ...]
    rewards: tuple[float, ...]
    chance: float

    @property
    def terminated(self) -> bool:
        return self.states[-1] == END

    def probability(self, logits: Tensor) -> Tensor:
        log_p = logits.log_softmax(-1)
        return (
            self.chance
            * torch.stack([log_p[s, a] for s, a in zip(self.states, self.actions, strict=False)]).sum().exp()
        )


def episodes(process: Process, horizon: int = HORIZON) -> list[Episode]:
    """All of them."""
    open_ = [Episode((s,), (), (), p) for s, p in START.items()]
    done = []
    for _ in range(horizon):
        grown = []
        for each, action in product(open_, range(ACTIONS)):
            for p, after, reward in process[each.states[-1]][action]:
                grown.append(
                    Episode((*each.states, after), (*each.actions, action), (*each.rewards, reward), each.chance * p)
                )
        done += [each for each in grown if each.terminated]
        open_ = [each for each in grown if not each.terminated]
    return done + open_


def objective(process: Process, logits: Tensor, gamma: float, beta: float, held: Tensor | None = None) -> Tensor:
    """E sum_t gamma^t (r_t + beta H(pi(. | s_t))) over episodes of at most `HORIZON` steps.

    Args:
        held: where given, logits of the policy that visits the states; then only H moves with `logits`, without rewards.
    """
    log_p = logits.log_softmax(-1)
    entropy = -(log_p.exp() * log_p).sum(-1)
    total = torch.zeros((), dtype=torch.float64)
    for each in episodes(process):
        earned = torch.zeros((), dtype=torch.float64)
        for t, reward in enumerate(each.rewards):
            earned = earned + gamma**t * ((0.0 if held is not None else reward) + beta * entropy[each.states[t]])
        total = total + each.probability(logits if held is None else held) * earned
    return total


def exact_gradient(process: Process, logits: Tensor, gamma: float, beta: float, maximum_entropy: bool) -> Tensor:
    """Of E sum gamma^t (r + beta H), or of E sum gamma^t r plus beta sum gamma^t grad H at the states as they are visited."""
    mine = logits.clone().requires_grad_()
    if maximum_entropy:
        value = objective(process, mine, gamma, beta)
    else:
        value = objective(process, mine, gamma, 0.0) + objective(process, mine, gamma, beta, mine.detach())
    return torch.autograd.grad(value, mine)[0]


def timed_values(process: Process, logits: Tensor, gamma: float, beta: float) -> tuple[Tensor, Tensor]:
    """V (HORIZON + 1, S), and Q (HORIZON, S, A) without the bonus of its own state, where `beta` counts entropies in."""
    p = logits.softmax(-1)
    bonus = -beta * (p * logits.log_softmax(-1)).sum(-1)
    v, q = (
        torch.zeros(HORIZON + 1, STATES, dtype=torch.float64),
        torch.zeros(HORIZON, STATES, ACTIONS, dtype=torch.float64),
    )
    for t in reversed(range(HORIZON)):
        for s, a in product(process, range(ACTIONS)):
            q[t, s, a] = sum(chance * (r + gamma * (0.0 if after == END else float(v[t + 1, after])))
                             for chance, after, r in process[s][a])  # fmt: skip
        for s in process:
            v[t, s] = (p[s] * q[t, s]).sum() + bonus[s]
    return v, q


def rollout_of(chosen: list[Episode]) -> Rollout:
    """Episodes side by side, as whole episodes are collected. An observation is one-hot of state and time: an exact value of a
    state depends on how many steps are left."""
    steps, number = max(len(each.actions) for each in chosen), len(chosen)

    def one_hot(state: int, time: int) -> Tensor:
        found = torch.zeros(STATES * (HORIZON + 1), dtype=torch.float64)
        found[state * (HORIZON + 1) + time] = 1.0
        return found

    observations = torch.zeros(steps, number, STATES * (HORIZON + 1), dtype=torch.float64)
    actions, time = (torch.zeros(steps, number, dtype=torch.int64) for _ in range(2))
    rewards = torch.zeros(steps, number, dtype=torch.float64)
    terminated, truncated, counted = (torch.zeros(steps, number, dtype=torch.bool) for _ in range(3))
    for i, each in enumerate(chosen):
        length = len(each.actions)
        for t in range(steps):
            observations[t, i] = one_hot(each.states[min(t, length)], min(t, length))
            time[t, i] = t
        for t in range(length):
            actions[t, i], rewards[t, i], counted[t, i] = each.actions[t], each.rewards[t], True
        terminated[length - 1, i], truncated[length - 1, i] = each.terminated, not each.terminated
    last = torch.stack([one_hot(each.states[-1], len(each.actions)) for each in chosen])
    final = last[truncated.nonzero()[:, 1]]
    return Rollout(
        observations, actions.unsqueeze(-1), rewards, terminated, truncated, counted, last, final, None, None, time
    )
