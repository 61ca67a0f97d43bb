"""Two links that hang from a bar, driven at the joint between them: gymnasium's Acrobot-v1.

Sutton, "Generalization in reinforcement learning: successful examples using sparse coarse coding", 1996; equations:
Sutton and Barto, "Reinforcement Learning", 2018, section 11.3 of the first edition.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from discrete_lightning.control.environments.arrays import Array, Module, between, columns, in_numpy, of_action, tensors
from discrete_lightning.control.environments.base import DifferentiableEnv, Transition, positive_limit

# masses, lengths and moments of inertia of both links are 1, their centres of mass at half the length
_GRAVITY = 9.8
_SECONDS = 0.2  # of a step
_FASTEST = (4 * math.pi, 9 * math.pi)


class Acrobot(DifferentiableEnv):
    """Swings the free end of two links above a line: a reward of -1 for every step until it is above, 0 for that one.

    State (n, 4): the first link's angle (0: hanging down), the second's relative to the first, both in [-pi, pi], and their
    velocities. Observation (n, 6): cosine and sine of each angle, and the velocities. Actions: torque -1, 0, 1. The cost is the
    height still missing, 1 + cos(first) + cos(first + second) of the new state: 3 where both hang down, below 0 above the line.

    Args:
        time_limit: the most steps of an episode; None: no limit.

    Example:
        >>> env = Acrobot()
        >>> after = env.step(torch.zeros(1, 4), torch.tensor([[0.0, 1.0, 0.0]]))
        >>> after.cost.item(), after.reward.item(), env.observe(after.state)[0, :3:2].tolist()
        (3.0, -1.0, [1.0, 1.0])
    """

    state_size = 4
    observation_shape = (6,)
    actions = (3,)
    reward_threshold = -100.0
    start_noise = 4

    def __init__(self, time_limit: int | None = 500) -> None:
        self.time_limit = positive_limit(time_limit)

    def start(self, uniform: Tensor) -> Tensor:
        return between(-0.1, 0.1, uniform)

    def step(self, state: Tensor, action: Tensor, uniform: Tensor | None = None) -> Transition:
        del uniform  # steps are deterministic
        return _driven(torch, state, action[:, 2] - action[:, 0])

    def take(self, state: Tensor, actions: Tensor, uniform: Tensor | None = None) -> Transition:
        if not in_numpy(state):
            return super().take(state, actions, uniform)
        values = state.numpy()
        return tensors(_driven(np, values, of_action((-1.0, 0.0, 1.0), actions, values.dtype)))

    def observe(self, state: Tensor) -> Tensor:
        return torch.from_numpy(_observed(np, state.numpy())) if in_numpy(state) else _observed(torch, state)

    def draw(self, state: Tensor) -> Any:
        from discrete_lightning.control.drawing.acrobot import draw_acrobot

        return draw_acrobot(self.observe(state[None])[0].tolist())


def _observed(xp: Module, state: Array) -> Array:
    first, second, *speeds = state.T
    return columns(xp, (xp.cos(first), xp.sin(first), xp.cos(second), xp.sin(second), *speeds))


def _driven(xp: Module, state: Array, torque: Array) -> Transition:
    """A step in torch or numpy. The order of the operations is gymnasium's."""
    moved = _runge_kutta(xp, xp.stack(tuple(state.T)), torque)
    first, second = _wrapped(xp, moved[:2])
    speeds = (xp.clip(speed, -limit, limit) for speed, limit in zip(moved[2:], _FASTEST, strict=True))
    cosine, tip = xp.cos(first), xp.cos(second + first)
    terminated = -cosine - tip > 1.0
    return Transition(
        state=columns(xp, (first, second, *speeds)),
        reward=xp.where(terminated, xp.zeros_like(tip), -xp.ones_like(tip)),
        cost=1.0 + cosine + tip,
        terminated=terminated,
    )


def _runge_kutta(xp: Module, state: Array, torque: Array) -> Array:
    """Where (4, n) states are after a step, by the classical method of the fourth order."""
    k1 = _change(xp, state, torque)
    k2 = _change(xp, state + _SECONDS / 2 * k1, torque)
    k3 = _change(xp, state + _SECONDS / 2 * k2, torque)
    k4 = _change(xp, state + _SECONDS * k3, torque)
    return state + _SECONDS / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def _change(xp: Module, state: Array, torque: Array) -> Array:
    """Derivatives of (4, n) states."""
    first, second, first_speed, second_speed = state
    cosine, sine = xp.cos(second), xp.sin(second)
    d1 = 0.25 + (1.25 + cosine) + 1.0 + 1.0
    d2 = 0.25 + 0.5 * cosine + 1.0
    phi2 = 0.5 * _GRAVITY * xp.cos(first + second - math.pi / 2)
    phi1 = (
        -0.5 * xp.square(second_speed) * sine
        - second_speed * first_speed * sine
        + 1.5 * _GRAVITY * xp.cos(first - math.pi / 2)
        + phi2
    )
    bend = (torque + d2 / d1 * phi1 - 0.5 * xp.square(first_speed) * sine - phi2) / (1.25 - xp.square(d2) / d1)
    return xp.stack((first_speed, second_speed, -(d2 * bend + phi1) / d1, bend))


def _wrapped(xp: Module, angles: Array) -> Array:
    """Angles in [-pi, pi], by whole turns, one after another as in gymnasium."""
    for _ in range(8):  # a step is less than that; a state that is not finite must not go round for ever
        over, under = angles > math.pi, angles < -math.pi
        if not (over | under).any():
            break
        angles = xp.where(over, angles - 2 * math.pi, xp.where(under, angles + 2 * math.pi, angles))
    return angles
