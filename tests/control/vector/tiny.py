"""Small gymnasium environments whose episodes can be worked out by hand."""

import os
import signal
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Walk(gymnasium.Env[Any, Any]):
    """Starts at 0 to 2, drawn; action 1 adds 1, action 0 nothing. Ends at 5; cut off after 4 steps. Reward: 10 x + step."""

    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012
    observation_space = spaces.Box(-1, 100, (2,), np.float32)
    action_space: Any = spaces.Discrete(2)

    def __init__(self, render_mode: str | None = None) -> None:
        self.x, self.t, self.render_mode = 0, 0, render_mode

    def observe(self) -> Any:
        return np.array([self.x, self.t], np.float32)

    def info(self) -> dict[str, Any]:
        return {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.x, self.t = int(self.np_random.integers(3)), 0
        return self.observe(), self.info()

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), action
        self.x, self.t = self.x + int(action), self.t + 1
        return self.observe(), 10.0 * self.x + self.t, self.x >= 5, self.t >= 4, self.info()

    def render(self) -> Any:
        return f"x = {self.x}\n"


class Reusing(Walk):
    """Its observation is always the same array, as that of some fast environments."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.seen = np.zeros(2, np.float32)

    def observe(self) -> Any:
        self.seen[:] = self.x, self.t
        return self.seen


class Masked(Walk):
    """Action 1 is illegal where x + step is 3; at an end no action is legal."""

    def info(self) -> dict[str, Any]:
        over = self.x >= 5 or self.t >= 4
        return {"action_mask": np.array([not over, self.x + self.t != 3 and not over], np.int8)}


class Broken(Walk):
    """Fails at its third step.

    Args:
        how: it fails.
        only: whether it does so only where it starts at 2.
    """

    def __init__(self, how: str = "raise", only: bool = False) -> None:
        super().__init__()
        self.how, self.only = how, only

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        result = super().reset(seed=seed, options=options)
        self.armed = not self.only or self.x == 2
        if self.armed and self.how == "reset":
            raise RuntimeError("no ball")
        return result[0] if self.armed and self.how == "bare reset" else result

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        if not self.armed or self.t < 3:
            return observation, reward, terminated, truncated, info
        if self.how == "raise":
            raise RuntimeError("the ball\nis lost")
        if self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        changed = {
            "nan reward": (observation, float("nan"), terminated, truncated, info),
            "no reward": (observation, None, terminated, truncated, info),
            "old": (observation, reward, terminated, info),
            "flags": (observation, reward, info, truncated, info),
            "shape": (np.zeros(3, np.float32), reward, terminated, truncated, info),
            "type": (np.array(["a", "b"]), reward, terminated, truncated, info),
            "none": (None, reward, terminated, truncated, info),
            "nan": (np.array([0, np.nan], np.float32), reward, terminated, truncated, info),
            "large": (np.array([0, 1e60]), reward, terminated, truncated, info),
        }
        return changed[self.how]


class Endless(Walk):
    """Without an end, or a time limit."""

    def step(self, action: Any) -> Any:
        observation, reward, _, _, info = super().step(action)
        return observation, reward, False, False, info


class Private(Walk):
    """Draws in each step, from a generator of its own that `reset` seeds, and that it hides behind a function."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if seed is not None:
            self.draw = np.random.default_rng(seed).random
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        self.x += int(self.draw() > 0.5)
        return super().step(action)


class Unseeded(Private):
    """That generator is seeded by the clock."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        found = super().reset(seed=seed, options=options)
        if seed is not None:
            self.draw = np.random.default_rng().random
        return found


class Global(Walk):
    """Draws from numpy's global generator, and does nothing with it."""

    def step(self, action: Any) -> Any:
        np.random.random()
        return super().step(action)


class Harder(Walk):
    """Counts its episodes; later ones might be harder."""

    episodes = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.episodes += 1
        return super().reset(seed=seed, options=options)


class Old(Walk):
    """Its generator is not one of gymnasium's kind."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if seed is not None:
            self._np_random = np.random.Generator(np.random.MT19937(seed))
        self.x, self.t = int(self.np_random.integers(3)), 0
        return self.observe(), self.info()
