"""Generalised advantages, losses of PPO and returns as plain loops over Python's floats."""

from collections.abc import Sequence

from torch import Tensor


def naive_advantages(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    counted: Tensor,
    gamma: float,
    lambda_: float,
) -> tuple[list[list[float]], list[list[float]]]:
    """Advantages and targets, [step][environment], one environment after another."""
    steps, number = rewards.shape
    advantages = [[0.0] * number for _ in range(steps)]
    targets = [[0.0] * number for _ in range(steps)]
    for i in range(number):
        following = 0.0
        for t in reversed(range(steps)):
            if not counted[t, i]:
                following = 0.0
                continue
            after = 0.0 if terminated[t, i] else float(next_values[t, i])
            delta = float(rewards[t, i]) + gamma * after - float(values[t, i])
            if terminated[t, i] or truncated[t, i]:
                following = 0.0
            following = delta + gamma * lambda_ * following
            advantages[t][i] = following
            targets[t][i] = following + float(values[t, i])
    return advantages, targets


def naive_ppo_terms(
    ratios: Sequence[float], advantages: Sequence[float], clip: float
) -> tuple[list[float], list[float]]:
    """For each row the loss -min(rho A, clip(rho) A), and its derivative by log rho."""
    losses, slopes = [], []
    for rho, a in zip(ratios, advantages, strict=True):
        held = min(max(rho, 1 - clip), 1 + clip)
        losses.append(-min(rho * a, held * a))
        passed = (a > 0 and rho > 1 + clip) or (a < 0 and rho < 1 - clip)
        slopes.append(0.0 if passed else -rho * a)
    return losses, slopes


def naive_value_terms(
    values: Sequence[float], old: Sequence[float], targets: Sequence[float], clip: float
) -> tuple[list[float], list[float]]:
    """For each row the clipped value loss, and its derivative by the value."""
    losses, slopes = [], []
    for v, o, target in zip(values, old, targets, strict=True):
        near = o + min(max(v - o, -clip), clip)
        plain, clipped = (v - target) ** 2 / 2, (near - target) ** 2 / 2
        losses.append(max(plain, clipped))
        moves = abs(v - o) <= clip
        slopes.append(v - target if plain > clipped or moves else 0.0)
    return losses, slopes
