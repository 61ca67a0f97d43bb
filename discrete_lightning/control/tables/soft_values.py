"""The optimum under an entropy bonus, for each of its two meanings.

Maximum entropy: max E sum gamma^t (r_t + beta H_t). Soft value iteration (Haarnoja et al. 2017, https://arxiv.org/abs/1702.08165)

    Q(s, a) = r(s, a) + gamma sum_t P(t|s, a) V(t)        V(s) = beta log sum_a exp(Q(s, a) / beta)

has one solution, and softmax(Q / beta) is the best policy.

Entropy in the loss only (A3C, Mnih et al. 2016, https://arxiv.org/abs/1602.01783; PPO): each state's gradient is that of
sum_a pi Q^pi + beta H with Q^pi held, without entropies in Q^pi. It is zero in all visited states where

    pi = softmax(Q^pi / beta),        Q^pi(s, a) = r(s, a) + gamma sum_t P(t|s, a) sum_b pi(b|t) Q^pi(t, b)

This is no maximum of anything, and it may have several solutions.
"""

import torch
from torch import Tensor

from discrete_lightning.control.tables.process import TabularProcess
from discrete_lightning.control.tables.values import Weight, action_values, one_step_values
from discrete_lightning.functional._arguments import check_positive

_TOLERANCE = 1e-13  # of values, relative
_ITERATIONS = 100_000


def soft_value_iteration(process: TabularProcess, gamma: float, beta: Weight) -> tuple[Tensor, Tensor]:
    """Q (..., S, A) and V (..., S) of the maximum-entropy optimum.

    Args:
        process: the tables.
        gamma: discount in [0, 1]; at 1 every policy has to reach an end.
        beta: weight of the entropy bonus, > 0; a number, or several (...).

    Raises:
        ValueError: beta or gamma is out of range, or values do not settle.

    Example:
        >>> from discrete_lightning.control.tables.process import toy_text
        >>> lake = toy_text("FrozenLake-v1")
        >>> q, v = soft_value_iteration(lake, gamma=0.95, beta=0.1)
        >>> round((lake.start @ v).item(), 4)
        1.1635
    """
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma must be between 0 and 1, got {gamma}")
    weight = torch.as_tensor(beta, dtype=torch.float64, device=process.rewards.device)
    check_positive(beta=weight.min().item())
    weight = weight.unsqueeze(-1)
    values = torch.zeros(*weight.shape[:-1], process.states, dtype=torch.float64, device=process.rewards.device)
    for _ in range(_ITERATIONS):
        q = one_step_values(process, values, gamma)
        new = weight * torch.logsumexp(q / weight.unsqueeze(-1), -1)
        change, values = (new - values).abs().max(), new
        if change <= _TOLERANCE * (1 + new.abs().max()):
            return q, values
    raise ValueError(f"values change by {change:.2g} after {_ITERATIONS:,} iterations: take gamma < 1, got {gamma}")


def loss_only_fixed_point(
    process: TabularProcess, gamma: float, beta: float, start: Tensor | None = None, iterations: int = 10_000
) -> Tensor:
    """The policy pi = softmax(Q^pi / beta) that repeating this assignment leads to: entropy in the loss only.

    Where no state comes twice in an episode (`deep_sea`) there is one solution, found from the ends backwards. Elsewhere there
    may be several, and this is the one that the iteration reaches from `start`. Policy gradients with the entropy in the loss
    come to the same policy on DeepSea from the uniform one, slowly: benchmarks/control/temperature.py prints the way.

    Args:
        process: the tables.
        gamma: discount in [0, 1].
        beta: weight of the entropy bonus, > 0.
        start: policy (S, A) to start from; None: uniform.
        iterations: at most.

    Returns:
        (S, A) probabilities.

    Raises:
        ValueError: beta is not positive, or the iteration does not settle.

    Example:
        >>> from discrete_lightning.control.tables.process import toy_text
        >>> from discrete_lightning.control.tables.values import policy_return
        >>> lake = toy_text("FrozenLake-v1")
        >>> round(policy_return(lake, loss_only_fixed_point(lake, 0.95, 0.1), 0.95).item(), 3)
        0.017
        >>> round(policy_return(lake, torch.softmax(soft_value_iteration(lake, 0.95, 0.1)[0] / 0.1, -1), 0.95).item(), 3)
        0.056
    """
    check_positive(beta=beta)
    policy = torch.full_like(process.rewards, 1 / process.actions) if start is None else start
    for _ in range(iterations):
        new = torch.softmax(action_values(process, policy, gamma) / beta, -1)
        change, policy = (new - policy).abs().max(), new
        if change <= _TOLERANCE:
            return policy
    raise ValueError(
        f"probabilities still change by {change:.2g} after {iterations:,} iterations from this start: raise beta, got {beta}"
    )
