"""The score-function gradient of a mean reward (REINFORCE, Williams 1992), with leave-one-out rewards as the baseline
(Kool et al. 2019, https://openreview.net/forum?id=r1lgTGL5DE; RLOO, Ahmadian et al. 2024, https://arxiv.org/abs/2402.14740).

gradient of E r = E (r - b) grad log pi(action),   b_i = mean_{j != i} r_j, or what a critic expects, or 0
"""

from typing import Literal

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_floating, host_number, values_can_be_read
from discrete_lightning.functional._mask import positions_mask
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional.leave_one_out import leave_one_out


def policy_gradient(
    rewards: Tensor,
    log_probabilities: Tensor,
    baseline: Literal["leave_one_out"] | Tensor | None = "leave_one_out",
    *,
    mask: Tensor | None = None,
) -> Tensor:
    """Minus the mean reward, as a loss whose gradient to the policy is the score-function gradient.

    Unbiased if the actions were drawn from the policy itself: not at another temperature, not truncated, and with
    `log_probabilities` of whole actions: a sequence's is the sum over its tokens. Neither length nor spread of the rewards is
    divided out, which would bias it (Liu et al. 2025, https://arxiv.org/abs/2503.20783).

    Args:
        rewards: r, larger is better, shape (m, ...): m actions for each of the same starts (prompts, states), on any
            device. No gradient passes.
        log_probabilities: log pi(action), same shape, with the gradient of the policy.
        baseline: "leave_one_out": the mean reward of the other actions of the same start, m >= 2; None: 0; or a tensor that
            broadcasts to the rewards, such as the values of a critic, which must not depend on the action. No gradient passes.
        mask: bool, False where an action does not count: of the shape of `rewards` or of its first dimensions. With
            "leave_one_out" a start counts with all of its actions: the mask has the shape of `rewards` without its first
            dimension, or of the first dimensions of that.

    Returns:
        0-dim, float32 (float64 of float64 log-probabilities): minus the mean reward over all that count; 0 if nothing does.

    Raises:
        ValueError: if rewards and log-probabilities have different shapes, or are not floating; if there are fewer than two
            actions to compare; if the baseline or mask does not fit; or (on the CPU) if one that counts is NaN or infinite.

    Example:
        >>> logits = torch.zeros(2, requires_grad=True)
        >>> loss = policy_gradient(torch.tensor([1.0, 0.0]), logits.log_softmax(-1))  # each action once
        >>> loss.backward()
        >>> loss.item(), logits.grad  # a step of descent makes the first action more likely
        (-0.5, tensor([-0.5000,  0.5000]))
    """
    check_floating(rewards, "rewards")
    check_floating(log_probabilities, "log_probabilities")
    if rewards.shape != log_probabilities.shape:
        raise ValueError(
            f"one reward for each action: the reward returned shape {tuple(rewards.shape)} for actions of shape "
            f"{tuple(log_probabilities.shape)}"
        )
    r, log_p = rewards.detach(), float32(log_probabilities)
    leaves_out = isinstance(baseline, str)
    counted = None
    if mask is not None:
        counted = positions_mask(mask, r.shape[1:] if leaves_out else r.shape)
        counted = counted.expand(r.shape).to(log_p.device)
        r, log_p = torch.where(counted.to(r.device), r, 0.0), torch.where(counted, log_p, 0.0)
    _check_numbers(r, "rewards", "what the reward returned")
    _check_numbers(log_p, "log-probabilities", "an action of probability 0 was not drawn from this policy")
    r = r.to(log_p)  # a judge that runs on the host returns its rewards there
    each = leave_one_out(-r, log_p) if _is_leave_one_out(baseline) else _with_baseline(r, log_p, baseline)
    if counted is None:
        return each.sum() / max(1, each.numel())
    return each.sum() / (counted[0] if leaves_out else counted).sum().clamp_min(1)


def _is_leave_one_out(baseline: str | Tensor | None) -> bool:
    if isinstance(baseline, str) and baseline != "leave_one_out":
        raise ValueError(f'baseline is "leave_one_out", None or a tensor, got {baseline!r}')
    return isinstance(baseline, str)


def _with_baseline(r: Tensor, log_p: Tensor, baseline: object) -> Tensor:
    """Minus each reward, with the gradient of minus (r - b) log p."""
    advantage = r
    if baseline is not None:
        if not isinstance(baseline, Tensor) or not _broadcasts(baseline.shape, r.shape):
            found = f"shape {tuple(baseline.shape)}" if isinstance(baseline, Tensor) else repr(baseline)
            raise ValueError(f"a baseline broadcasts to the shape of the rewards, {tuple(r.shape)}, got {found}")
        check_floating(baseline, "baseline")
        advantage = r - baseline.detach().to(r)
    surrogate = advantage * log_p
    return -r - (surrogate - surrogate.detach())


def _broadcasts(shape: torch.Size, to: torch.Size) -> bool:
    return len(shape) <= len(to) and all(a in (1, b) for a, b in zip(reversed(shape), reversed(to), strict=False))


def _check_numbers(x: Tensor, name: str, hint: str) -> None:
    if not values_can_be_read(x) or host_number((finite := x.detach().isfinite()).all()):
        return
    nan, count = int(x.isnan().sum()), int((~finite).sum())
    raise ValueError(
        f"{count} of {x.numel()} {name} are not finite: {nan} NaN, {count - nan} infinite; shape {tuple(x.shape)} ({hint})"
    )
