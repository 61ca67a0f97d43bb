"""Generalised advantage estimation (Schulman et al. 2016, https://arxiv.org/abs/1506.02438, equations 11 to 16).

    delta_t = r_t + gamma (1 - terminated_t) V(s'_t) - V(s_t)
    A_t = delta_t + gamma lambda (1 - ended_t) A_t+1,   ended = terminated or truncated

s'_t is what step t led to. A time limit is no end: V(s'_t) of a truncated step belongs in its target (Pardo et al. 2018,
https://arxiv.org/abs/1712.00378).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_floating
from discrete_lightning.functional._precision import float32


class Advantages(NamedTuple):
    """What `generalized_advantage` returns: (T, n) each, without a gradient; 0 where a row does not count.

    Attributes:
        advantages: A_t.
        targets: A_t + V(s_t), what a critic learns.
    """

    advantages: Tensor
    targets: Tensor


@torch.no_grad()
def generalized_advantage(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float = 0.99,
    lambda_: float = 0.95,
    counted: Tensor | None = None,
) -> Advantages:
    """Advantages of n environments over T steps.

    Args:
        rewards: r_t, (T, n).
        values: V(s_t), (T, n).
        next_values: V(s'_t), (T, n): of the observation that step t itself led to, which is not the next row's where an episode
            has ended and the environment has reset itself (gymnasium's `final_obs`). `Rollout.values` gives them.
        terminated: bool (T, n), ends of the episodes' own.
        truncated: bool (T, n), time limits.
        gamma: discount, in [0, 1].
        lambda_: in [0, 1]: 0 trusts the critic after one step, 1 not at all.
        counted: bool (T, n), False at rows that are no transitions: the resets of gymnasium's autoreset mode NEXT_STEP.

    Raises:
        ValueError: if shapes differ, values are not floating, flags are not bool, or gamma or lambda_ is out of its range.

    Example:
        >>> one = torch.ones(3, 1)
        >>> ends = torch.tensor([[False], [False], [True]])
        >>> generalized_advantage(one, 0 * one, 0 * one, ends, ~ends & False, gamma=1.0, lambda_=1.0).advantages.flatten()
        tensor([3., 2., 1.])
    """
    parts = {"rewards": rewards, "values": values, "next_values": next_values}
    flags = {"terminated": terminated, "truncated": truncated} | ({} if counted is None else {"counted": counted})
    shapes = {name: tuple(each.shape) for name, each in (parts | flags).items()}
    if rewards.ndim != 2 or len(set(shapes.values())) > 1:
        raise ValueError(f"all are (steps, environments), got {shapes}")
    for name, each in parts.items():
        check_floating(each, name)
    if any(each.dtype != torch.bool for each in flags.values()):
        raise ValueError(f"{', '.join(flags)} are bool, got {', '.join(str(each.dtype) for each in flags.values())}")
    if not (0 <= gamma <= 1 and 0 <= lambda_ <= 1):
        raise ValueError(f"gamma and lambda_ are in [0, 1], got {gamma} and {lambda_}")
    r, v, after = (float32(each) for each in parts.values())
    delta = r + gamma * after.masked_fill(terminated, 0.0) - v
    carry = gamma * lambda_ * (~(terminated | truncated)).to(delta)
    if counted is not None:
        delta = delta.masked_fill(~counted, 0.0)
        carry = carry.masked_fill(~counted, 0.0)
    advantages = _discounted_sums(delta, carry)
    targets = advantages + v
    return Advantages(advantages, targets if counted is None else targets.masked_fill(~counted, 0.0))


def _discounted_sums(values: Tensor, carry: Tensor) -> Tensor:
    """A_t = values_t + carry_t A_t+1 (T, n), in log2 T passes over all steps (Hillis & Steele 1986)."""
    shift = 1
    while shift < len(values):
        later = torch.nn.functional.pad(values[shift:], (0, 0, 0, shift))
        values = values + carry * later
        carry = carry * torch.nn.functional.pad(carry[shift:], (0, 0, 0, shift))
        shift *= 2
    return values
