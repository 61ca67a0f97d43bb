"""A gymnasium environment with two actions at once."""

from typing import Any

import gymnasium
import numpy as np


class TwoAtOnce(gymnasium.Env[Any, Any]):
    """Earns 1 where both actions are what the observation says; 6 steps."""

    observation_space = gymnasium.spaces.Box(0.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.MultiDiscrete([2, 3])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward = float(action[0] == round(float(self.now[0])) and action[1] == 2)
        self.steps += 1
        return self._seen(), reward, self.steps == 6, False, {}

    def _seen(self) -> Any:
        self.now = self.np_random.random(2, dtype=np.float32)
        return self.now
