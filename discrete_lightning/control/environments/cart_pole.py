"""A pole on a cart, pushed left or right at every step: gymnasium's CartPole-v1.

Barto, Sutton and Anderson, "Neuronlike adaptive elements that can solve difficult learning control problems", 1983;
equations: https://coneural.org/florian/papers/05_cart_pole.pdf.
"""

import math
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.control.environments.base import DifferentiableEnv, Transition
from discrete_lightning.control.environments.constants import constant, positive_limit, scalars

_POLE = 0.1  # mass
_HALF = 0.5  # of the pole's length
_SECONDS = 0.02  # of a step
# gravity, mass of the pole, of both, half length, mass of the pole times half length, 4/3, seconds
_CONSTANTS = (9.8, _POLE, _POLE + 1.0, _HALF, _POLE * _HALF, 4.0 / 3.0, _SECONDS)
_FORCES = (-10.0, 10.0)
_POSITION_LIMIT = 2.4
_ANGLE_LIMIT = 12 * 2 * math.pi / 360
_LIMITS = (_POSITION_LIMIT, math.inf, _ANGLE_LIMIT, math.inf)


class CartPole(DifferentiableEnv):
    """Balances a pole on a cart: a reward of 1 for every step until the pole leans by 12 degrees or the cart leaves the track.

    State and observation (n, 4): the cart's position and velocity, the pole's angle (positive: to the right) and angular
    velocity. Actions: push left, push right. Float64 states follow gymnasium's bit for bit where torch and numpy have the same
    sines. The cost is (angle / limit)^2 + (position / limit)^2 of the new state: 0 where all is upright, above 1 once the
    episode has ended.

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
        return -0.05 + (0.05 - -0.05) * uniform

    def step(self, state: Tensor, action: Tensor, uniform: Tensor | None = None) -> Transition:
        del uniform  # steps are deterministic
        return self._pushed(state, action @ constant(_FORCES, state))

    def take(self, state: Tensor, actions: Tensor, uniform: Tensor | None = None) -> Transition:
        del uniform
        return self._pushed(state, constant(_FORCES, state).index_select(0, actions.squeeze(1)))

    def _pushed(self, state: Tensor, force: Tensor) -> Transition:
        _, velocity, angle, turn = state.unbind(1)
        cosine, sine = angle.cos(), angle.sin()
        gravity, pole, total, half, arm, third, seconds = scalars(_CONSTANTS, state)
        # the order of the operations is gymnasium's: float64 must give the same bits
        push = (force + arm * turn.square() * sine) / total
        turn_change = (gravity * sine - cosine * push) / (half * (third - pole * cosine.square() / total))
        velocity_change = push - arm * turn_change * cosine / total
        state = state + seconds * torch.stack((velocity, velocity_change, turn, turn_change), 1)
        limits = constant(_LIMITS, state)
        return Transition(
            state=state,
            reward=torch.ones_like(force).detach(),
            cost=(state / limits).square().sum(1),
            terminated=(state.detach().abs() > limits).any(1),
        )

    def draw(self, state: Tensor) -> Any:
        from discrete_lightning.control.drawing.cart_pole import draw_cart_pole

        return draw_cart_pole(state.tolist())
