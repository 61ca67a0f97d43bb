"""Losses of proximal policy optimisation (Schulman et al. 2017, https://arxiv.org/abs/1707.06347, equation 7).

L = -mean min(rho A, clip(rho, 1 - epsilon, 1 + epsilon) A),   rho = pi(a | s) / pi_old(a | s)
"""

import torch
from torch import Tensor

from discrete_lightning.control.statistics import counted_mean
from discrete_lightning.functional._checks import check_floating
from discrete_lightning.functional._precision import float32


def ppo_clip(
    log_probabilities: Tensor,
    old_log_probabilities: Tensor,
    advantages: Tensor,
    clip: float | Tensor = 0.2,
    *,
    mask: Tensor | None = None,
) -> Tensor:
    """The clipped loss of PPO: its gradient is 0 where an action has become more (A > 0) or less (A < 0) likely by `clip`.

    Args:
        log_probabilities: log pi(a | s), any shape, with the gradient of the policy.
        old_log_probabilities: log pi_old(a | s), same shape, of the policy that acted. No gradient passes.
        advantages: A, same shape. No gradient passes.
        clip: epsilon, >= 0.
        mask: bool, same shape, False where a row does not count.

    Returns:
        0-dim, float32 (float64 of float64): the mean over the rows of all ranks that count; 0 if none does.

    Raises:
        ValueError: if shapes differ, the mask is not bool, or `clip` is negative.

    Example:
        >>> log_p = torch.log(torch.tensor([0.6, 0.6], requires_grad=True))
        >>> ppo_clip(log_p, torch.log(torch.tensor([0.5, 0.4])), torch.tensor([1.0, 1.0])).item()
        -1.2000000476837158
    """
    counted = _counted((log_probabilities, old_log_probabilities, advantages), clip, mask)
    log_p, old = float32(log_probabilities), float32(old_log_probabilities).detach()
    a = torch.where(counted, float32(advantages).detach(), 0.0)
    ratio = torch.where(counted, log_p - old, 0.0).exp()
    held = torch.minimum(torch.maximum(ratio, ratio.new_tensor(1.0) - clip), ratio.new_tensor(1.0) + clip)
    return counted_mean(-torch.minimum(ratio * a, held * a), counted)


def clipped_value_loss(
    values: Tensor, old_values: Tensor, targets: Tensor, clip: float | Tensor, *, mask: Tensor | None = None
) -> Tensor:
    """Half the mean of max((V - target)^2, (V_old + clip(V - V_old, -clip, clip) - target)^2) over the rows that count.

    Detail 9 of Huang et al. 2022. Andrychowicz et al. 2020 (https://arxiv.org/abs/2006.05990) find that it hurts: PPO does
    without it here unless it is asked for.

    Args:
        values: V, any shape, with the gradient of the critic.
        old_values: V of the critic when the rollout was made, same shape. No gradient passes.
        targets: what V should be, same shape. No gradient passes.
        clip: how far V counts as moved, >= 0.
        mask: bool, same shape, False where a row does not count.

    Raises:
        ValueError: if shapes differ, the mask is not bool, or `clip` is negative.

    Example:
        >>> clipped_value_loss(torch.tensor([2.0]), torch.tensor([0.0]), torch.tensor([2.0]), 0.5)  # it moved too far
        tensor(1.1250)
    """
    counted = _counted((values, old_values, targets), clip, mask)
    v, old, aim = (torch.where(counted, float32(each), 0.0) for each in (values, old_values.detach(), targets.detach()))
    near = old + torch.minimum(torch.maximum(v - old, -v.new_tensor(1.0) * clip), v.new_tensor(1.0) * clip)
    return counted_mean(torch.maximum((v - aim).square(), (near - aim).square()) / 2, counted)


def _counted(rows: tuple[Tensor, Tensor, Tensor], clip: float | Tensor, mask: Tensor | None) -> Tensor:
    """The rows that count. Raises ValueError if arguments do not fit."""
    for each in rows:
        check_floating(each, "what a loss compares")
    shapes = [tuple(each.shape) for each in rows]
    if len(set(shapes)) > 1:
        raise ValueError(f"new values, old ones and what they are held against have one shape, got {shapes}")
    if not isinstance(clip, Tensor) and not clip >= 0:
        raise ValueError(f"clip is 0 or more, got {clip}")
    counted = torch.ones_like(rows[0], dtype=torch.bool) if mask is None else mask
    if counted.dtype != torch.bool or counted.shape != rows[0].shape:
        raise ValueError(f"a mask is bool {shapes[0]}, got {counted.dtype} {tuple(counted.shape)}")
    return counted
