"""Where an environment is in its episode, as a start and the actions since: a resumed run replays them. Without torch."""

import random
import sys
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from discrete_lightning.control.vector.guard import Broken, checked_reset, checked_step
from discrete_lightning.control.vector.spaces import ActionForm, ObservationForm

MASK = "action_mask"
Plain = dict[str, Any]
_REHEARSED = 32  # steps
_SHORT = 64  # characters or entries that are kept or looked at
_SMALL = 4096  # bytes of an array that is looked at
_ITSELF = "it has randomness or state of its own, beside `np_random`"


class EpisodeReplay:
    """Keeps what it takes to bring an environment back to where it is: `np_random` before the episode, and the actions since.

    That is all there is to know of an environment that draws from `self.np_random` alone and keeps nothing else from one
    episode to the next. `replay` finds out whether it is one: it goes on twice from the same start and compares, and then
    compares the environment's numbers, texts, small arrays and generators to those that were saved. An environment that hides
    its state from both (in a library in C, say) for longer than 32 steps is not found out.

    Args:
        environment: to reset.
        stepped: what takes the steps; by default the environment.

    Attributes:
        actions: of the running episode, as the environment took them: whoever steps the environment appends to it.

    Example:
        >>> import gymnasium
        >>> one, other = (EpisodeReplay(gymnasium.make("CartPole-v1")) for _ in range(2))
        >>> one.begin(7)
        >>> _ = one.environment.reset(seed=7)
        >>> one.actions.append(1)
        >>> observation, *_ = one.environment.step(1)
        >>> found, _ = other.replay(one.state())
        >>> bool((found == observation).all())
        True
    """

    def __init__(self, environment: Any, stepped: Any = None) -> None:
        self.environment, self._stepped = environment, environment if stepped is None else stepped
        self._seed: int | None = None
        self._generator: Plain | None = None
        self._is_first = True
        self.actions: list[Any] = []

    def begin(self, seed: int | None) -> None:
        """Takes note of a reset, before it happens."""
        self._is_first = seed is not None
        if seed is not None:
            self._seed = seed
        self._generator = None if self._is_first else _generator_state(self.environment)
        self.actions = []

    def state(self) -> Plain:
        """Where the environment is, in plain values."""
        return {
            "seed": self._seed,
            "first": self._is_first,
            "generator": self._generator,
            "actions": np.array(self.actions, np.int64).tolist(),
            "attributes": _attributes(self.environment),
        }

    def replay(self, state: Plain) -> tuple[Any, dict[str, Any]]:
        """Takes the environment to a `state`; returns the observation and info that its last step or reset gave.

        Raises:
            Broken: it does not come to where it was; the environment must be reset.
        """
        if state["seed"] is None or (not state["first"] and state["generator"] is None):
            raise Broken("replay", "its `np_random` is no generator of gymnasium's kind")
        form = ActionForm(self.environment.action_space)
        actions = form.own(state["actions"])
        before = _global_states()
        try:
            self._rehearse(state, form, actions)
            observation, info = self._start(state, state["seed"])
            for action in actions:
                observation, _, terminated, truncated, info = checked_step(self._stepped, action)
                if terminated or truncated:
                    raise Broken("replay", f"its episode has come to an end: {_ITSELF}")
        finally:
            has_drawn = _restore_global(before)
        if has_drawn:
            raise Broken(
                "replay", "it draws from a global generator (numpy's, Python's or torch's): use `self.np_random`"
            )
        if (name := _differing(state["attributes"], _attributes(self.environment))) is not None:
            raise Broken("replay", f"its `{name}` is not what it was: {_ITSELF}")
        self._seed, self._is_first, self._generator = state["seed"], state["first"], state["generator"]
        self.actions = actions
        return observation, info

    def _start(self, state: Plain, seed: int) -> tuple[Any, dict[str, Any]]:
        """Begins the episode."""
        result = checked_reset(self.environment, seed)
        if state["first"]:
            return result
        generator = _generator(self.environment)
        if generator is None:
            raise Broken("replay", "its `np_random` is no generator of gymnasium's kind")
        try:
            generator.bit_generator.state = state["generator"]
        except (TypeError, ValueError) as error:
            raise Broken("replay", f"its `np_random` is another generator: {error}") from error
        return checked_reset(self.environment)

    def _rehearse(self, state: Plain, form: ActionForm, actions: list[Any]) -> None:
        """Begins the episode twice, where it is not the first one from other seeds, and goes on to the end of it or beyond."""
        seeds = (state["seed"],) * 2 if state["first"] else (state["seed"] + 1, state["seed"] + 2)
        one, other = (self._trace(state, seed, form, actions[:_REHEARSED]) for seed in seeds)
        if one != other:
            raise Broken("replay", f"from the same start it goes two ways: {_ITSELF}")

    def _trace(self, state: Plain, seed: int, form: ActionForm, actions: list[Any]) -> list[Any]:
        observed = ObservationForm(self.environment.observation_space)
        chance = np.random.default_rng(0)
        observation, info = self._start(state, seed)
        seen: list[Any] = [observed.row(observation).tobytes()]
        for number in range(_REHEARSED):
            action = actions[number] if number < len(actions) else _some_action(form, info, chance)
            observation, reward, terminated, truncated, info = checked_step(self._stepped, action)
            seen.append((observed.row(observation).tobytes(), reward, terminated, truncated))
            if terminated or truncated:
                actions = []
                observation, info = checked_reset(self.environment)
                seen.append(observed.row(observation).tobytes())
        seen.append(observed.row(checked_reset(self.environment)[0]).tobytes())
        return seen


def _some_action(form: ActionForm, info: dict[str, Any], chance: np.random.Generator) -> Any:
    legal = form.legal(info[MASK]) if MASK in info else np.ones(sum(form.actions), bool)
    parts = np.split(legal, np.cumsum(form.actions)[:-1])
    return form.each(np.array([[chance.choice(np.flatnonzero(part)) for part in parts]]))[0]


def _generator(environment: Any) -> np.random.Generator | None:
    found = getattr(getattr(environment, "unwrapped", environment), "np_random", None)
    return found if isinstance(found, np.random.Generator) else None


def _generator_state(environment: Any) -> Plain | None:
    """That of PCG64, which is of plain integers; None for another one, whose state is of arrays."""
    generator = _generator(environment)
    state = None if generator is None else generator.bit_generator.state
    return dict(state) if state is not None and str(state["bit_generator"]).startswith("PCG64") else None


def _attributes(environment: Any) -> Plain:
    """An environment's numbers and short texts by name, and checksums of its small arrays and of its generators.

    gymnasium's own wrappers are left out: they keep times, and counts of episodes that nothing depends on.
    """
    found: Plain = {}
    layer = environment
    while layer is not None:
        if not type(layer).__module__.startswith("gymnasium.wrappers"):
            for name, value in getattr(layer, "__dict__", {}).items():
                if (plain := _plain(value)) is not None:
                    found[sys.intern(f"{type(layer).__name__}.{name}")] = plain  # in a file it is written once
        layer = layer.__dict__.get("env") if layer is not getattr(layer, "unwrapped", layer) else None
    return found


def _plain(value: Any) -> Any:
    if type(value) in (
        bool,
        int,
        float,
    ):  # not their subclasses, which a checkpoint cannot hold: numpy's float64 is one
        return value
    if isinstance(value, np.generic):
        return value.item() if value.dtype.kind in "biuf" and value.itemsize <= 8 else None
    if type(value) is str:
        return value if len(value) <= _SHORT else crc32(value.encode())
    if isinstance(value, np.ndarray):
        return crc32(value.tobytes()) if value.nbytes <= _SMALL and value.dtype.kind in "biuf" else None
    if isinstance(value, list | tuple):
        parts = [_plain(each) for each in value] if len(value) <= _SHORT else [None]
        return None if None in parts else crc32(repr(parts).encode())
    if isinstance(value, np.random.Generator):
        return crc32(repr(value.bit_generator.state).encode())
    if isinstance(value, np.random.RandomState):
        return crc32(repr(value.get_state()).encode())
    return crc32(repr(value.getstate()).encode()) if isinstance(value, random.Random) else None


def _differing(saved: Plain, found: Plain) -> str | None:
    """The name of a value that is not equal, or in one of the two alone."""
    for name in saved.keys() | found.keys():
        one, other = saved.get(name), found.get(name)
        if one != other and (one == one or other == other):  # NaN is as it was
            return name
    return None


def _global_states() -> list[Any]:
    torch = sys.modules.get("torch")  # not imported here: workers do without
    return [np.random.get_state(legacy=False), random.getstate(), None if torch is None else torch.get_rng_state()]


def _restore_global(states: list[Any]) -> bool:
    """Puts states back; returns whether any had changed."""
    now = _global_states()
    if states[2] is not None:
        sys.modules["torch"].set_rng_state(states[2])
    np.random.set_state(states[0])
    random.setstate(states[1])
    return any(_bytes(one) != _bytes(other) for one, other in zip(states, now, strict=True) if one is not None)


def _bytes(state: Any) -> Any:
    if isinstance(state, dict):
        key: NDArray[Any] = state["state"]["key"]
        return (key.tobytes(), *(each for name, each in state.items() if name != "state"), state["state"]["pos"])
    return state if isinstance(state, tuple) else state.numpy().tobytes()
