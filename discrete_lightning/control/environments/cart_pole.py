"""A pole on a cart, pushed left or right at every step: gymnasium's CartPole-v1.

Barto, Sutton and Anderson, "Neuronlike adaptive elements that can solve difficult learning control problems", 1983;
equations: https://coneural.org/florian/papers/05_cart_pole.pdf.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from discrete_lightning.control.environments.arrays import Array, Module, between, columns, in_numpy, of_action, tensors
from discrete_lightning.control.environments.base import DifferentiableEnv, Transition, positive_limit

_GRAVITY = 9.8
_POLE = 0.1  # its mass
_TOTAL = _POLE + 1.0  # mass of pole and cart
_HALF = 0.5  # of the pole's length
_ARM = _POLE * _HALF
_FORCE = 10.0
_SECONDS = 0.02  # of a step
_POSITION = 2.4  # its limit
_ANGLE = 12 * 2 * math.pi / 360  # its limit


class CartPole(DifferentiableEnv):
    """Balances a pole on a cart: a reward of 1 for every step until the pole leans by 12 degrees or the cart leaves the track.

    State and observation (n, 4): the cart's position and velocity, the pole's angle (positive: to the right) and angular
    velocity. Actions: push left, push right. Float64 states follow gymnasium's bit for bit where torch and numpy have the same
    sines. The cost is (angle / limit)^2 + (position / limit)^2 of the new state: 0 where all is upright, above 1 once the
    episode has ended. A force acts on velocities, and on the cost one step later: the gradient of a single step is 0.

    Args:
        time_limit: the most steps of an episode; None: no limit.

    Example:
        >>> env = CartPole()
        >>> state = torch.zeros(1, 4)
        >>> action = torch.tensor([[0.0, 1.0]], requires_grad=True)
        >>> after = env.step(state, action)
        >>> after.state.tolist()[0][1] > 0, after.reward.item(), after.terminated.item()
        (True, 1.0, False)
    """

    state_size = 4
    observation_shape = (4,)
    actions = (2,)
    reward_threshold = 475.0
    start_noise = 4

    def __init__(self, time_limit: int | None = 500) -> None:
        self.time_limit = positive_limit(time_limit)

    def start(self, uniform: Tensor) -> Tensor:
        return between(-0.05, 0.05, uniform)

    def step(self, state: Tensor, action: Tensor, uniform: Tensor | None = None) -> Transition:
        del uniform  # steps are deterministic
        return _pushed(torch, state, _FORCE * (action[:, 1] - action[:, 0]))

    def take(self, state: Tensor, actions: Tensor, uniform: Tensor | None = None) -> Transition:
        if not in_numpy(state):
            return super().take(state, actions, uniform)
        values = state.numpy()
        return tensors(_pushed(np, values, of_action((-_FORCE, _FORCE), actions, values.dtype)))

    def draw(self, state: Tensor) -> Any:
        from discrete_lightning.control.drawing.cart_pole import draw_cart_pole

        return draw_cart_pole(state.tolist())


def _pushed(xp: Module, state: Array, force: Array) -> Transition:
    """A step in torch or numpy. The order of the operations is gymnasium's: float64 must give the same bits."""
    position, velocity, angle, turn = state.T
    cosine, sine = xp.cos(angle), xp.sin(angle)
    push = (force + _ARM * xp.square(turn) * sine) / _TOTAL
    turn_change = (_GRAVITY * sine - cosine * push) / (_HALF * (4.0 / 3.0 - _POLE * xp.square(cosine) / _TOTAL))
    velocity_change = push - _ARM * turn_change * cosine / _TOTAL
    position = position + _SECONDS * velocity
    angle = angle + _SECONDS * turn
    state = columns(xp, (position, velocity + _SECONDS * velocity_change, angle, turn + _SECONDS * turn_change))
    position, angle = (
        state[:, 0],
        state[:, 2],
    )  # they belong to the graph, though only the velocities feel the force at once
    return Transition(
        state=state,
        reward=xp.ones_like(position),
        cost=xp.square(position / _POSITION) + xp.square(angle / _ANGLE),
        terminated=(abs(position) > _POSITION) | (abs(angle) > _ANGLE),
    )
