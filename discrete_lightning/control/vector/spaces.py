"""gymnasium's spaces as tensors: observations as float32 rows, discrete actions as numbers from 0, legal actions as a mask."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discrete_lightning.control.vector.guard import Broken

Row = NDArray[np.float32]


class ObservationForm:
    """How observations of a space become float32 rows.

    Box: its numbers as they are, of its shape. Discrete: one-hot. All others (Dict, Tuple, MultiDiscrete, MultiBinary, Text):
    gymnasium's `flatten`.

    Args:
        space: of one observation.

    Raises:
        ValueError: an observation of the space has no fixed size.

    Attributes:
        shape: of a row.
        states: their number, for Discrete; else None.
    """

    def __init__(self, space: Any) -> None:
        from gymnasium import spaces

        self.space, self.states, self.start = space, None, 0
        self.is_box = isinstance(space, spaces.Box)
        if self.is_box:
            self.shape = tuple(space.shape)
        elif isinstance(space, spaces.Discrete):
            self.states, self.start = int(space.n), int(space.start)
            self.shape = (self.states,)
        elif space is not None and space.is_np_flattenable:
            self.shape = (int(spaces.flatdim(space)),)
        else:
            raise ValueError(
                f"observation space {space}: expected one whose observations have a fixed size (Box, Discrete, or Dict and "
                "Tuple of such): wrap the environment in one that has it"
            )

    def row(self, observation: Any) -> Row:
        """One observation as float32 of `shape`; that it is finite is left to `not_finite`.

        Raises:
            Broken: it is not of the space: wrong shape or type, or a number that is none of the states.
        """
        if self.is_box:
            return self._numbers(observation, self.shape)
        if self.states is not None:
            row = np.zeros(self.states, np.float32)
            if type(observation) is int and 0 <= observation - self.start < self.states:
                row[observation - self.start] = 1  # the usual case, in a fifth of the time
                return row
            return self._one_hot(np.asarray(observation).reshape(1, *np.shape(observation)))[0]
        return self._flattened(observation)

    def rows(self, observations: Any, batched: Any, count: int) -> Row:
        """Those of `count` environments, of the space `batched`, as float32 (count, *shape).

        Raises:
            Broken: see `row`.
        """
        if self.is_box:
            return self._numbers(observations, (count, *self.shape))
        if self.states is not None:
            return self._one_hot(np.asarray(observations))
        from gymnasium.vector.utils import iterate

        return np.stack([self._flattened(each) for each in iterate(batched, observations)])

    def _numbers(self, observation: Any, shape: tuple[int, ...]) -> Row:
        if type(observation) is not np.ndarray:
            if observation is None:
                raise Broken("observation", "None")
            try:
                observation = np.asarray(observation)
            except ValueError as error:  # lists of several lengths
                raise Broken("observation", f"a {type(observation).__name__} that is no array: {error}") from None
        if observation.dtype.kind not in "biuf":
            raise Broken("observation", f"of type {observation.dtype}, expected {self.space.dtype}")
        if observation.shape != shape:
            raise Broken("observation", f"of shape {observation.shape}, expected {shape}")
        if observation.dtype == np.float32:
            return observation
        with np.errstate(over="ignore"):  # becomes infinite, which is found
            return observation.astype(np.float32)

    def _one_hot(self, numbers: NDArray[Any]) -> Row:
        assert self.states is not None
        if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
            shown = numbers[0].tolist() if len(numbers) == 1 else numbers.tolist()
            raise Broken("observation", f"{shown!r}, expected the number of a state")
        numbers = numbers - self.start
        if (numbers < 0).any() or (numbers >= self.states).any():
            last = self.start + self.states - 1
            bad = numbers[(numbers < 0) | (numbers >= self.states)][0] + self.start
            raise Broken("observation", f"{bad}, expected the number of a state, {self.start} to {last}")
        rows = np.zeros((len(numbers), self.states), np.float32)
        rows[np.arange(len(numbers)), numbers] = 1
        return rows

    def _flattened(self, observation: Any) -> Row:
        from gymnasium.spaces import flatten

        try:
            flat = np.asarray(flatten(self.space, observation), np.float32)
        except Exception as error:
            raise Broken("observation", f"not of {self.space}: {type(error).__name__}: {error}") from None
        if flat.shape != self.shape:
            raise Broken("observation", f"of {flat.size} numbers, expected {self.shape[0]}: {self.space}")
        return flat


class ActionForm:
    """How actions, numbers from 0 for each component, become those of a space.

    Args:
        space: of one action: Discrete, MultiDiscrete, or MultiBinary (components of 2).

    Raises:
        ValueError: the space is another one.

    Attributes:
        actions: number of actions of each component.
    """

    def __init__(self, space: Any) -> None:
        from gymnasium import spaces

        self.space = space
        if isinstance(space, spaces.Discrete):
            self.actions: tuple[int, ...] = (int(space.n),)
            self._start: Any = int(space.start)
        elif isinstance(space, spaces.MultiDiscrete):
            self.actions = tuple(int(n) for n in space.nvec.ravel())
            self._start = np.asarray(getattr(space, "start", 0))
        elif isinstance(space, spaces.MultiBinary):
            self.actions, self._start = (2,) * int(np.prod(space.shape)), 0
        else:
            raise ValueError(
                f"action space {space}: expected discrete actions (Discrete, MultiDiscrete or MultiBinary); for others, wrap "
                "the environment in one that offers a choice of actions"
            )
        self._is_single = isinstance(space, spaces.Discrete)
        self._sizes = np.array(self.actions)
        self._ends = np.cumsum(self._sizes)[:-1]

    def each(self, actions: NDArray[np.int64]) -> list[Any]:
        """The action of each environment: an int for Discrete, which environments check faster than numpy's, else an array."""
        native = self.native(actions)
        return native.tolist() if self._is_single else list(native)

    def native(self, actions: NDArray[np.int64]) -> NDArray[Any]:
        """Actions (n, components) as the space has them, (n,) for Discrete."""
        if self._is_single:
            return actions[:, 0] + self._start
        return (actions.reshape(-1, *self.space.shape) + self._start).astype(self.space.dtype)

    def own(self, natives: list[Any]) -> list[Any]:
        """Actions of the space that were stored as lists of integers, as an environment takes them: see `each`."""
        return list(natives) if self._is_single else list(np.array(natives).astype(self.space.dtype))

    def out_of_range(self, actions: NDArray[np.int64]) -> tuple[int, str] | None:
        """The first row with an action that there is not, and what is wrong with it."""
        bad = (actions < 0) | (actions >= self._sizes)
        if not bad.any():
            return None
        row, component = np.argwhere(bad)[0]
        which = "" if len(self.actions) == 1 else f" of component {component}"
        last = self.actions[component] - 1
        return int(row), f"{actions[row, component]}{which} is out of range, expected 0 to {last}"

    def legal(self, mask: Any) -> NDArray[np.bool_]:
        """An environment's mask as bool (sum of actions,).

        Args:
            mask: one array of all components one after another, or a tuple of one array a component; not 0: legal.

        Raises:
            Broken: it has another size, or a component without a legal action.
        """
        total = sum(self.actions)
        try:
            parts = mask if isinstance(mask, tuple | list) and np.ndim(mask[0]) else (mask,)
            flat = np.concatenate([np.asarray(part).ravel() for part in parts])
        except (ValueError, IndexError, TypeError):
            flat = np.zeros(0)
        if flat.shape != (total,) or flat.dtype.kind not in "biuf":
            raise Broken("info['action_mask']", f"of {flat.size} entries, expected {total}, one for each action")
        legal = flat.astype(bool)
        if not all(part.any() for part in np.split(legal, self._ends)):
            raise Broken("info['action_mask']", "no action is legal")
        return legal


def first_row(rows: NDArray[Any], is_bad: Callable[[NDArray[Any]], NDArray[np.bool_]]) -> int | None:
    """The first row in which an entry is bad; None where all are good."""
    bad = is_bad(rows)
    return int(np.argwhere(bad)[0][0]) if bad.any() else None


def not_finite(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Where an entry is NaN or infinite."""
    return ~np.isfinite(rows)
