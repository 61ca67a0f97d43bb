"""Environments with finitely many states: tables of moves, states one-hot, steps linear in the action."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from discrete_lightning.control.environments.arrays import Array, in_numpy, tensors
from discrete_lightning.control.environments.base import DifferentiableEnv, Transition, positive_limit

Outcomes = list[tuple[float, int, float, bool]]


class FiniteEnv(DifferentiableEnv):
    """An environment of S states and K moves; a move leads from a state to one other, an action may slip into another move.

    State and observation: one-hot, (n, S). A step is linear in the action and in the state, so mixtures of both are allowed and
    give the mean over them. The cost is minus the expected reward, with a gradient to action and state.

    Args:
        targets: `targets[s][m]`, the state to which move m leads from state s.
        rewards: `rewards[s][m]`, that of the same move.
        terminal: S truth values: episodes end there. Moves from there must lead to itself, without reward.
        first: probabilities of first states.
        slips: (probability, k): action a makes move (a + k) modulo K. One slip: steps are deterministic, and k is 0.
        time_limit: the most steps of an episode; None: no limit.

    Attributes:
        P: `P[s][a]` lists what action a can lead to from state s as (probability, next state, reward, terminated), as
            gymnasium's toy-text environments do.
        initial_state_distrib: probabilities of first states, S numbers.

    Raises:
        ValueError: the tables do not fit together.

    Example:
        >>> env = FiniteEnv([[0, 1], [1, 1]], [[0.0, 1.0], [0.0, 0.0]], [False, True], first=[1.0, 0.0])
        >>> after = env.step(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
        >>> after.state.tolist(), after.reward.item(), after.terminated.item(), env.P[0][1]
        ([[0.0, 1.0]], 1.0, True, [(1.0, 1, 1.0, True)])
    """

    start_noise = 1

    def __init__(
        self,
        targets: Sequence[Sequence[int]],
        rewards: Sequence[Sequence[float]],
        terminal: Sequence[bool],
        first: Sequence[float],
        slips: Sequence[tuple[float, int]] = ((1.0, 0),),
        time_limit: int | None = None,
    ) -> None:
        _check(targets, rewards, terminal, first, slips)
        states, moves = len(targets), len(targets[0])
        self.state_size = self.states = states
        self.observation_shape = (states,)
        self.actions = (moves,)
        self.step_noise = int(len(slips) > 1)
        self.time_limit = positive_limit(time_limit)
        self.initial_state_distrib = list(first)
        self.P: list[list[Outcomes]] = [
            [
                [(1.0, s, 0.0, True)]
                if terminal[s]
                else [_outcome(p, targets[s][(a + k) % moves], rewards[s][(a + k) % moves], terminal) for p, k in slips]
                for a in range(moves)
            ]
            for s in range(states)
        ]
        expected = [[sum(p * reward for p, _, reward, _ in outcomes) for outcomes in row] for row in self.P]
        with torch.inference_mode(False):  # they will be used in training, too
            self._exact = _Tables(
                targets=torch.tensor(targets).flatten(),
                rewards=torch.tensor(rewards, dtype=torch.float64).flatten(),
                expected=torch.tensor(expected, dtype=torch.float64),
                terminal=torch.tensor(terminal),
                first=torch.tensor(first, dtype=torch.float64).cumsum(0)[:-1],
                slips=torch.tensor([p for p, _ in slips], dtype=torch.float64).cumsum(0)[:-1],
                shifts=torch.tensor([k for _, k in slips]),
                numbers=torch.arange(moves),
                positions=torch.arange(states, dtype=torch.float64),
            )
        self._copies: dict[tuple[torch.dtype, torch.device], _Tables] = {}

    def start(self, uniform: Tensor) -> Tensor:
        bounds = self._tables(uniform).first
        if in_numpy(uniform):
            positions = np.searchsorted(bounds.numpy(), uniform.numpy()[:, 0], side="right")
            return torch.from_numpy(
                _one_hot(positions, np.empty((len(uniform), self.state_size), bounds.numpy().dtype))
            )
        return uniform.new_zeros(len(uniform), self.state_size).scatter_(1, _drawn(uniform, bounds), 1.0)

    def step(self, state: Tensor, action: Tensor, uniform: Tensor | None = None) -> Transition:
        tables = self._tables(state)
        moves = action
        if self.step_noise:
            shift = tables.shifts[_drawn(_needed(uniform), tables.slips)]
            moves = action.gather(1, (tables.numbers - shift) % self.actions[0])  # move m is made by action m - k
        chances = (state[:, :, None] * moves[:, None, :]).flatten(1)  # of each state and move
        after = torch.zeros_like(state).index_add(1, tables.targets, chances)
        return Transition(
            state=after,
            reward=chances.detach() @ tables.rewards,
            cost=-((state @ tables.expected) * action).sum(1),
            terminated=after.detach() @ tables.terminal.to(after.dtype) > 0.5,
        )

    def take(self, state: Tensor, actions: Tensor, uniform: Tensor | None = None) -> Transition:
        if not in_numpy(state):
            return super().take(state, actions, uniform)
        tables, moves = self._tables(state), self.actions[0]
        values = state.numpy()
        before = (values @ tables.positions.numpy()).astype(np.int64) * moves
        made = actions.numpy()[:, 0]
        pairs = before + made
        expected = tables.expected.numpy().take(pairs)
        if self.step_noise:
            slips = np.searchsorted(tables.slips.numpy(), _needed(uniform).numpy()[:, 0], side="right")
            pairs = before + (made + tables.shifts.numpy().take(slips)) % moves
        reached = tables.targets.numpy().take(pairs)
        reward = tables.rewards.numpy().take(pairs)
        after = _one_hot(reached, np.empty_like(values))
        return tensors(Transition(after, reward, -expected, tables.terminal.numpy().take(reached)))

    def _tables(self, like: Tensor) -> "_Tables":
        key = (like.dtype, like.device)
        if key not in self._copies:
            with torch.inference_mode(False):
                self._copies[key] = _Tables(
                    *(each.to(like) if each.is_floating_point() else each.to(like.device) for each in self._exact)
                )
        return self._copies[key]


class _Tables(NamedTuple):
    targets: Tensor  # (S K)
    rewards: Tensor  # (S K), of moves
    expected: Tensor  # (S, K), of actions
    terminal: Tensor  # (S,)
    first: Tensor  # (S - 1,), cumulated
    slips: Tensor  # cumulated, without the last
    shifts: Tensor
    numbers: Tensor  # 0, ..., K - 1
    positions: Tensor  # 0, ..., S - 1; exact in float32 up to 2^24


def _drawn(uniform: Tensor, bounds: Tensor) -> Tensor:
    """The first outcome whose cumulated probability exceeds a uniform number, as gymnasium draws: (n, 1) like `uniform`."""
    return torch.bucketize(uniform.contiguous(), bounds, right=True)


def _one_hot(positions: Array, into: Array) -> Array:
    into[...] = 0.0
    into[np.arange(len(into)), positions] = 1.0
    return into


def _needed(uniform: Tensor | None) -> Tensor:
    if uniform is None:
        raise ValueError("steps of this environment are random: give `uniform`, numbers in [0, 1) of shape (n, 1)")
    return uniform


def _outcome(probability: float, state: int, reward: float, terminal: Sequence[bool]) -> tuple[float, int, float, bool]:
    return probability, state, float(reward), bool(terminal[state])


def _check(
    targets: Sequence[Sequence[int]],
    rewards: Sequence[Sequence[float]],
    terminal: Sequence[bool],
    first: Sequence[float],
    slips: Sequence[tuple[float, int]],
) -> None:
    if not targets or not targets[0]:
        raise ValueError("an environment needs a state and a move at least")
    states, moves = len(targets), len(targets[0])
    for name, table in (("targets", targets), ("rewards", rewards)):
        if len(table) != states or any(len(row) != moves for row in table):
            raise ValueError(f"{name} must be {states} rows of {moves} moves, as targets[0] says")
    for name, column in (("terminal", terminal), ("first", first)):
        if len(column) != states:
            raise ValueError(f"{name} must hold one value for each of {states} states, got {len(column)}")
    for s, row in enumerate(targets):
        if any(not 0 <= target < states for target in row):
            raise ValueError(f"moves from state {s} lead to {list(row)}: states are 0 to {states - 1}")
        if terminal[s] and (any(target != s for target in row) or any(rewards[s])):
            raise ValueError(f"state {s} ends episodes: its moves must lead to itself without reward")
    for name, chances in (("first", list(first)), ("slips", [p for p, _ in slips])):
        if any(p < 0 for p in chances) or not math.isclose(sum(chances), 1.0, abs_tol=1e-9):
            raise ValueError(f"probabilities of {name} must be at least 0 and sum to 1, got {chances}")
    if len(slips) == 1 and slips[0][1]:
        raise ValueError("a single slip must have k = 0: name the moves in the order of the actions")
