"""The true policy gradients of the two objectives with an entropy bonus, for pi = softmax(logits): oracles of estimators.

    maximum entropy:         d/dlogits E sum_t gamma^t (r_t + beta H_t)
    entropy in the loss:     sum_s d(s) [sum_a dpi(a|s) Q^pi(s, a) + beta dH(pi(s))],   d and Q^pi held, Q^pi without entropy

The first is the gradient of a function; by the policy gradient theorem it has the form of the second with entropies in Q^pi.
The second is what A2C and PPO follow (Mnih et al. 2016, https://arxiv.org/abs/1602.01783, section 4). They agree at beta = 0.
"""

import torch
from torch import Tensor

from discrete_lightning.control.tables.process import TabularProcess
from discrete_lightning.control.tables.values import (
    Weight,
    action_values,
    entropy_return,
    policy_entropy,
    state_flow,
    state_visits,
)


def maximum_entropy_gradient(
    process: TabularProcess, logits: Tensor, gamma: float, beta: Weight = 0.0, horizon: int | None = None
) -> Tensor:
    """Gradient (..., S, A) of J = E sum gamma^t (r_t + beta H_t) by the logits (..., S, A); beta = 0: of the return.

    Args:
        process: the tables.
        logits: (..., S, A).
        gamma: discount in [0, 1].
        beta: weight of the entropy bonus, a number or one for each policy (...).
        horizon: number of steps after which all episodes stop; None: they go on.

    Example:
        >>> from discrete_lightning.control.tables.deep_sea import deep_sea
        >>> for size in (11, 12):  # the first state of DeepSea, at the uniform policy: right is action 1
        ...     gradient = maximum_entropy_gradient(deep_sea(size), torch.zeros(size * size, 2), gamma=1.0)
        ...     print(size, "right" if gradient[0, 1] > 0 else "left")
        11 right
        12 left
    """
    logits = logits.detach().to(process.rewards).requires_grad_()
    with torch.enable_grad():
        objective = entropy_return(process, torch.softmax(logits, -1), gamma, beta, horizon).sum()
    return torch.autograd.grad(objective, logits)[0]


def loss_only_gradient(
    process: TabularProcess,
    logits: Tensor,
    gamma: float,
    beta: Weight = 0.0,
    horizon: int | None = None,
    visit_gamma: float | None = None,
) -> Tensor:
    """Gradient (..., S, A) of the returns without entropy plus that of the entropies, with the states' visits held.

    Args:
        process: the tables.
        logits: (..., S, A).
        gamma: discount of Q^pi.
        beta: weight of the entropy bonus.
        horizon: number of steps after which all episodes stop; None: they go on.
        visit_gamma: discount of the visits d(s); None: gamma, as the theorem says. Most programs leave gamma^t out of the loss,
            which is 1; with it every policy has to reach an end, or `horizon` be given.
    """
    visit_gamma = gamma if visit_gamma is None else visit_gamma
    logits = logits.detach().to(process.rewards).requires_grad_()
    with torch.enable_grad():
        policy = torch.softmax(logits, -1)
        held = policy.detach()
        bonus = (beta.to(policy).unsqueeze(-1) if isinstance(beta, Tensor) else beta) * policy_entropy(policy)
        if horizon is None:
            parts = [(state_visits(process, held, visit_gamma), action_values(process, held, gamma))]
        else:
            parts = _steps(process, held, gamma, visit_gamma, horizon)
        objective = sum(((visits * ((policy * q).sum(-1) + bonus)).sum() for visits, q in parts), logits.new_zeros(()))
    return torch.autograd.grad(objective, logits)[0]


def _steps(
    process: TabularProcess, policy: Tensor, gamma: float, visit_gamma: float, horizon: int
) -> list[tuple[Tensor, Tensor]]:
    """(visits of step t, values of actions with the steps that are then left) of each t."""
    flow, found = visit_gamma * state_flow(process, policy).mT, []
    now = process.start.expand(*policy.shape[:-2], process.states)
    for t in range(horizon):
        found.append((now, action_values(process, policy, gamma, horizon=horizon - t)))
        now = (flow @ now.unsqueeze(-1)).squeeze(-1)
    return found
