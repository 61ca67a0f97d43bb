"""A car in a valley, too weak to drive straight up: gymnasium's MountainCar-v0.

Moore, "Efficient memory-based learning for robot control", 1990.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from discrete_lightning.control.environments.arrays import Array, Module, between, columns, in_numpy, of_action, tensors
from discrete_lightning.control.environments.base import DifferentiableEnv, Transition, positive_limit

_FORCE = 0.001
_GRAVITY = 0.0025
_LEFT, _RIGHT, _GOAL = -1.2, 0.6, 0.5
_FASTEST = 0.07
_AT_GOAL = math.sin(3 * _GOAL)


class MountainCar(DifferentiableEnv):
    """Drives a car up a hill by swinging: a reward of -1 for every step until its position is .5 or more.

    State and observation (n, 2): position in [-1.2, .6] and velocity in [-.07, .07]. Actions: push left, none, push right.
    The cost is the energy that is missing: with E = v^2 / 2 + (gravity / 3) sin(3 x), what the goal needs minus E, divided by
    the difference between goal and bottom of the valley. It is 1 at rest at the bottom, 0 where the energy suffices to roll up
    to the goal, and below 0 above that.

    Args:
        time_limit: the most steps of an episode; None: no limit.

    Example:
        >>> env = MountainCar()
        >>> after = env.step(torch.tensor([[-0.5, 0.0]]), torch.tensor([[0.0, 0.0, 1.0]]))
        >>> after.state[0, 1].item() > 0, after.reward.item(), after.terminated.item()
        (True, -1.0, False)
    """

    state_size = 2
    observation_shape = (2,)
    actions = (3,)
    reward_threshold = -110.0
    start_noise = 1

    def __init__(self, time_limit: int | None = 200) -> None:
        self.time_limit = positive_limit(time_limit)

    def start(self, uniform: Tensor) -> Tensor:
        return torch.cat((between(-0.6, -0.4, uniform), torch.zeros_like(uniform)), 1)

    def step(self, state: Tensor, action: Tensor, uniform: Tensor | None = None) -> Transition:
        del uniform  # steps are deterministic
        return _pushed(torch, state, action[:, 2] - action[:, 0])

    def take(self, state: Tensor, actions: Tensor, uniform: Tensor | None = None) -> Transition:
        if not in_numpy(state):
            return super().take(state, actions, uniform)
        values = state.numpy()
        return tensors(_pushed(np, values, of_action((-1.0, 0.0, 1.0), actions, values.dtype)))

    def draw(self, state: Tensor) -> Any:
        from discrete_lightning.control.drawing.mountain_car import draw_mountain_car

        return draw_mountain_car(state.tolist())


def _pushed(xp: Module, state: Array, direction: Array) -> Transition:
    """A step in torch or numpy. The order of the operations is gymnasium's."""
    position, velocity = state.T
    velocity = velocity + (direction * _FORCE + xp.cos(3 * position) * -_GRAVITY)
    velocity = xp.clip(velocity, -_FASTEST, _FASTEST)
    position = xp.clip(position + velocity, _LEFT, _RIGHT)
    velocity = xp.where(
        (position <= _LEFT) & (velocity < 0), xp.zeros_like(velocity), velocity
    )  # the wall takes the speed
    energy = 1.5 / _GRAVITY * xp.square(velocity) + xp.sin(3 * position)
    return Transition(
        state=columns(xp, (position, velocity)),
        reward=-xp.ones_like(position),
        cost=(_AT_GOAL - energy) / (_AT_GOAL + 1.0),
        terminated=(position >= _GOAL) & (velocity >= 0),
    )
