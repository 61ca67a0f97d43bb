"""DeepSea (Osband et al. 2020, bsuite, https://arxiv.org/abs/1908.03568): a treasure that N right moves in a row lead to.

An N x N grid; each step goes down one row, and left or right one column. Right costs cost/N. Who goes right N times gets 1.
A uniform policy does so with probability 2^-N. All 2^N sequences of actions are different paths of known reward, so the optimum
under an entropy bonus has a closed form: each path has a probability in proportion to exp(reward / beta).
"""

import math

import torch
from torch import Tensor

from discrete_lightning.control.tables.process import TabularProcess
from discrete_lightning.functional._arguments import check_at_least, check_not_negative, check_positive

RIGHT = 1


def deep_sea(size: int, cost: float = 0.01) -> TabularProcess:
    """DeepSea with N = `size`: state row * N + column, action 0 left, 1 right. All episodes have N steps: gamma may be 1.

    Args:
        size: N, at least 1.
        cost: of N moves to the right.

    Raises:
        ValueError: size or cost is out of range.

    Example:
        >>> from discrete_lightning.control.tables.values import policy_return
        >>> always_right = torch.tensor([0.0, 1.0]).double().expand(16, 2)
        >>> round(policy_return(deep_sea(4), always_right, gamma=1.0).item(), 6)
        0.99
    """
    check_at_least(1, size=size)
    check_not_negative(cost=cost)
    states = size * size
    row, column = torch.arange(states) // size, torch.arange(states) % size
    goes_on = (row < size - 1).double()
    transitions = torch.zeros(states, 2, states, dtype=torch.float64)
    for action, target in ((0, (column - 1).clamp_min(0)), (RIGHT, (column + 1).clamp_max(size - 1))):
        transitions[torch.arange(states), action, ((row + 1).clamp_max(size - 1)) * size + target] = goes_on
    rewards = torch.zeros(states, 2, dtype=torch.float64)
    rewards[:, RIGHT] = (column == size - 1).double() - cost / size
    start = torch.zeros(states, dtype=torch.float64)
    start[0] = 1.0
    return TabularProcess(transitions, rewards, start)


def treasure_probability(policy: Tensor) -> Tensor:
    """The probability, shape (...), that a policy (..., N * N, 2) goes right N times."""
    size = math.isqrt(policy.shape[-2])
    return policy[..., torch.arange(size) * (size + 1), RIGHT].prod(-1)


def maximum_entropy_treasure(size: int, beta: float, cost: float = 0.01) -> float:
    """The probability of the treasure under the maximum-entropy optimum at gamma = 1, in closed form.

    1 / (1 + ((1 + e^-c)^N - e^-cN) e^(-(1 - cost) / beta)), c = cost / (N beta): the paths with k < N right moves weigh
    e^-ck each, the one with N weighs e^-cN e^(1 / beta). It turns from 1 to 0 near beta = (1 - cost) / (N log 2).

    Args:
        size: N, at least 1.
        beta: weight of the entropy bonus, > 0.
        cost: of N moves to the right.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> [round(maximum_entropy_treasure(10, beta), 3) for beta in (0.1, 0.12, 0.15)]
        [0.953, 0.796, 0.426]
    """
    check_at_least(1, size=size)
    check_positive(beta=beta)
    check_not_negative(cost=cost)
    c = cost / (size * beta)
    others = size * math.log1p(math.exp(-c)) + math.log(-math.expm1(-size * (c + math.log1p(math.exp(-c)))))
    return 1 / (1 + math.exp(min(others - (1 - cost) / beta, 700.0)))
