"""Environments with finitely many states: tables of moves, states one-hot, steps linear in the action."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

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
        self._exact = _Tables(
            targets=np.array(targets).reshape(-1),
            rewards=np.array(rewards, dtype=np.float64).reshape(-1),
            expected=np.array(expected, dtype=np.float64),
            terminal=np.array(terminal),
            first=np.cumsum(first, dtype=np.float64)[:-1],
            slips=np.cumsum([p for p, _ in slips], dtype=np.float64)[:-1],
            shifts=np.array([k for _, k in slips]),
            numbers=np.arange(moves),
            positions=np.arange(states, dtype=np.float64),
        )
        self._copies: dict[Any, _Tables] = {}

    def start(self, uniform: Tensor) -> Tensor:
        if in_numpy(uniform):
            values = uniform.numpy()
            positions = self._arrays(values.dtype).first.searchsorted(values[:, 0], side="right")
            return torch.from_numpy(_one_hot(positions, np.empty((len(values), self.state_size), values.dtype)))
        positions = _drawn(uniform, self._tables(uniform).first)
        return uniform.new_zeros(len(uniform), self.state_size).scatter_(1, positions, 1.0)

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
        values, moves = state.numpy(), self.actions[0]
        tables = self._arrays(values.dtype)
        before = (values @ tables.positions).astype(np.int64) * moves
        made = actions.numpy()[:, 0]
        pairs = before + made
        cost = -tables.expected.take(pairs)
        if self.step_noise:
            slips = tables.slips.searchsorted(_needed(uniform).numpy()[:, 0], side="right")
            pairs = before + (made + tables.shifts.take(slips)) % moves
        reached = tables.targets.take(pairs)
        after = _one_hot(reached, np.empty_like(values))
        return tensors(Transition(after, tables.rewards.take(pairs), cost, tables.terminal.take(reached)))

    def _arrays(self, dtype: Any) -> "_Tables":
        """The tables in numpy, their numbers in the type of the state."""
        if dtype not in self._copies:
            self._copies[dtype] = _Tables(
                *(each.astype(dtype) if each.dtype == np.float64 else each for each in self._exact)
            )
        return self._copies[dtype]

    def _tables(self, like: Tensor) -> "_Tables":
        """The tables in torch, of the type and on the device of the state."""
        key = (like.dtype, like.device)
        if key not in self._copies:
            arrays = self._arrays(np.dtype(np.float64 if like.dtype is torch.float64 else np.float32))
            with torch.inference_mode(False):  # they will be used in training, too
                self._copies[key] = _Tables(*(torch.from_numpy(each).to(like.device) for each in arrays))
        return self._copies[key]


class _Tables(NamedTuple):
    targets: Array  # (S K)
    rewards: Array  # (S K), of moves
    expected: Array  # (S, K), of actions
    terminal: Array  # (S,)
    first: Array  # (S - 1,), cumulated
    slips: Array  # cumulated, without the last
    shifts: Array
    numbers: Array  # 0, ..., K - 1
    positions: Array  # 0, ..., S - 1; exact in float32 up to 2^24


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
