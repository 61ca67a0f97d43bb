"""What a policy is worth in a `TabularProcess`, exactly, and where it goes: all differentiable in the policy.

With pi (S, A), P_pi[s, t] = sum_a pi(a|s) P[s, a, t] and H the entropy in nats,

    V = (I - gamma P_pi)^-1 (sum_a pi r + beta H)         Q = r + gamma P V         d = (I - gamma P_pi^T)^-1 start

V counts the entropies of this state and all later ones, Q those of later ones, as in maximum-entropy reinforcement learning
(Haarnoja et al. 2017, https://arxiv.org/abs/1702.08165). beta = 0: plain values. Policies may be stacked: (..., S, A).
"""

import torch
from torch import Tensor

from discrete_lightning.control.tables.process import TabularProcess

Weight = float | Tensor  # a number, or one for each of several policies (...)


def policy_entropy(policy: Tensor) -> Tensor:
    """Entropies (..., S) of the distributions (..., S, A) over actions, in nats.

    An action of probability 0 has a finite gradient here, see `log_probabilities`.
    """
    return -(policy * log_probabilities(policy)).sum(-1)


def log_probabilities(policy: Tensor) -> Tensor:
    """Logarithms, finite where softmax has ended in 0: 0 times infinity is no number."""
    return policy.clamp_min(torch.finfo(policy.dtype).tiny).log()


def check_discount(process: TabularProcess, policy: Tensor, gamma: float) -> None:
    """Raises ValueError unless `policy` is (..., S, A) and gamma in [0, 1]."""
    expected = (process.states, process.actions)
    if policy.shape[-2:] != expected:
        raise ValueError(f"a policy of this process is (..., {expected[0]}, {expected[1]}), got {tuple(policy.shape)}")
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma must be between 0 and 1, got {gamma}")


def state_flow(process: TabularProcess, policy: Tensor) -> Tensor:
    """P_pi, (..., S, S)."""
    return torch.einsum("...sa,sat->...st", policy, process.transitions)


def state_values(
    process: TabularProcess, policy: Tensor, gamma: float, beta: Weight = 0.0, horizon: int | None = None
) -> Tensor:
    """V (..., S) of a policy.

    Args:
        process: the tables.
        policy: (..., S, A), probabilities.
        gamma: discount in [0, 1]; at 1 every policy has to reach an end, as in `deep_sea`.
        beta: weight of the entropy bonus, a number or one for each policy (...).
        horizon: number of steps after which all episodes stop; None: they go on.

    Raises:
        ValueError: shapes or gamma are wrong.
    """
    check_discount(process, policy, gamma)
    earned = (policy * process.rewards).sum(-1) + _column(beta, policy) * policy_entropy(policy)
    flow = gamma * state_flow(process, policy)
    if horizon is None:
        return torch.linalg.solve(torch.eye(process.states, dtype=flow.dtype, device=flow.device) - flow, earned)
    values = torch.zeros_like(earned)
    for _ in range(horizon):
        values = earned + (flow @ values.unsqueeze(-1)).squeeze(-1)
    return values


def action_values(
    process: TabularProcess, policy: Tensor, gamma: float, beta: Weight = 0.0, horizon: int | None = None
) -> Tensor:
    """Q (..., S, A) of a policy: the action's reward, then the policy, with entropies of later states. See `state_values`.

    Args:
        process: the tables.
        policy: (..., S, A).
        gamma: discount.
        beta: weight of the entropy bonus.
        horizon: number of steps, this one included.
    """
    left = None if horizon is None else horizon - 1
    return one_step_values(process, state_values(process, policy, gamma, beta, left), gamma)


def one_step_values(process: TabularProcess, values: Tensor, gamma: float) -> Tensor:
    """Values (..., S, A) of one action and then of `values` (..., S): r + gamma P V."""
    return process.rewards + gamma * torch.einsum("sat,...t->...sa", process.transitions, values)


def policy_return(process: TabularProcess, policy: Tensor, gamma: float, horizon: int | None = None) -> Tensor:
    """E sum_t gamma^t r_t, shape (...): without entropy. See `state_values`.

    Example:
        >>> from discrete_lightning.control.tables.process import toy_text
        >>> lake = toy_text("FrozenLake-v1")
        >>> policy_return(lake, torch.full((16, 4), 0.25, dtype=torch.float64), gamma=1.0).item()  # share that reaches the goal
        0.0139...
    """
    return state_values(process, policy, gamma, 0.0, horizon) @ process.start


def entropy_return(
    process: TabularProcess, policy: Tensor, gamma: float, beta: Weight, horizon: int | None = None
) -> Tensor:
    """J = E sum_t gamma^t (r_t + beta H_t), shape (...): what maximum-entropy reinforcement learning raises."""
    return state_values(process, policy, gamma, beta, horizon) @ process.start


def state_visits(process: TabularProcess, policy: Tensor, gamma: float, horizon: int | None = None) -> Tensor:
    """Visits d (..., S) = sum_t gamma^t P(s_t = s): discounted, not normalised; at gamma = 1 their expected numbers."""
    check_discount(process, policy, gamma)
    flow = gamma * state_flow(process, policy).mT
    start = process.start.expand(*policy.shape[:-2], process.states)
    if horizon is None:
        return torch.linalg.solve(torch.eye(process.states, dtype=flow.dtype, device=flow.device) - flow, start)
    visits = now = start if horizon else torch.zeros_like(start)
    for _ in range(horizon - 1):
        now = (flow @ now.unsqueeze(-1)).squeeze(-1)
        visits = visits + now
    return visits


def _column(beta: Weight, policy: Tensor) -> Weight:
    """A weight that broadcasts against (..., S)."""
    return beta.to(policy).unsqueeze(-1) if isinstance(beta, Tensor) else beta
