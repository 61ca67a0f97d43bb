"""What an environment in torch is: pure functions of a batch of states, differentiable in the action."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from discrete_lightning.layers.recorded import Recorded


class Transition(NamedTuple):
    """What a step of a `DifferentiableEnv` leads to.

    Attributes:
        state: (n, D), with a gradient to the action.
        reward: (n,), the true one, as gymnasium gives it; without a gradient.
        cost: (n,), smooth, with a gradient to the action through the new state: what the path gradient descends.
        terminated: bool (n,).
    """

    state: Tensor
    reward: Tensor
    cost: Tensor
    terminated: Tensor


class DifferentiableEnv(Recorded, ABC):
    """An environment as functions of a batch of states: no state of its own, no random numbers of its own.

    Randomness comes in as uniform numbers, so that the same numbers give the same episodes on any number of processes.
    Arithmetic is in the dtype of the state: float64 states give gymnasium's own numbers.

    Attributes:
        state_size: D.
        observation_shape: of one observation.
        states: see `VectorEnvironments`.
        actions: number of actions of each component.
        time_limit: see `VectorEnvironments`.
        reward_threshold: see `VectorEnvironments`.
        start_noise: uniform numbers that `start` takes for each environment.
        step_noise: uniform numbers that `step` takes for each environment; 0: steps are deterministic.
    """

    state_size: int
    observation_shape: tuple[int, ...]
    states: int | None = None
    actions: tuple[int, ...]
    time_limit: int | None = None
    reward_threshold: float | None = None
    start_noise: int = 0
    step_noise: int = 0

    @abstractmethod
    def start(self, uniform: Tensor) -> Tensor:
        """First states (n, D), of the dtype of `uniform`, numbers in [0, 1), (n, start_noise)."""

    @abstractmethod
    def step(self, state: Tensor, action: Tensor, uniform: Tensor | None = None) -> Transition:
        """One step.

        Args:
            state: (n, D).
            action: one-hot (n, K), or anything of that shape: the gradient passes through it.
            uniform: (n, step_noise), where steps are random.
        """

    def take(self, state: Tensor, actions: Tensor, uniform: Tensor | None = None) -> Transition:
        """A step by actions that are numbers: what `step` gives for their one-hot vectors, without gradient and maybe faster.

        Sines, and what follows from them, may differ in their last bit from those of `step`.

        Args:
            state: (n, D), of states that can occur: where one is one-hot, no mixture.
            actions: int64 (n, components), each in [0, K), unchecked.
            uniform: (n, step_noise), where steps are random.
        """
        return self.step(state, one_hot_actions(actions, self.actions, state), uniform)

    def observe(self, state: Tensor) -> Tensor:
        """Observations (n, *observation_shape) of states; differentiable. The state itself by default."""
        return state

    def exact_figures(self, probabilities: Tensor) -> dict[str, float]:
        """What can be said exactly of a policy by its probabilities in all states, (states, actions): logged in the test."""
        return {}

    def draw(self, state: Tensor) -> Any:
        """A pillow image (RGB, about 300 x 200) of one state (D,)."""
        raise NotImplementedError


def one_hot_actions(actions: Tensor, sizes: tuple[int, ...], like: Tensor) -> Tensor:
    """Actions int64 (n, components) as one-hot vectors one after another, (n, sum of sizes), of the dtype of `like`.

    Example:
        >>> one_hot_actions(torch.tensor([[1, 2]]), (2, 3), torch.zeros(1)).tolist()
        [[0.0, 1.0, 0.0, 0.0, 1.0]]
    """
    rows = [torch.eye(size, dtype=like.dtype, device=like.device) for size in sizes]
    return torch.cat([row[each] for row, each in zip(rows, actions.unbind(1), strict=True)], 1)


def positive_limit(time_limit: int | None) -> int | None:
    """`time_limit`, if an episode can have a step.

    Raises:
        ValueError: it is below 1.
    """
    if time_limit is not None and time_limit < 1:
        raise ValueError(f"time_limit must be at least 1 step, or None for no limit; got {time_limit}")
    return time_limit
