"""An environment in a worker process: what goes wrong is reported among its infos. Without torch: workers import this."""

import multiprocessing
import signal
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from discrete_lightning.control.vector.episode_replay import EpisodeReplay
from discrete_lightning.control.vector.guard import FAULT, Broken, checked_reset, checked_step
from discrete_lightning.control.vector.gymnasium_maker import GymnasiumMaker
from discrete_lightning.control.vector.spaces import ObservationForm


class Reporting:
    """Passes on calls to an environment, checks what it returns, and reports the first fault as `info[FAULT]`.

    An observation is copied: in SAME_STEP gymnasium keeps the last one of an episode while the environment is reset, and some
    environments use one array for both. gymnasium itself would print the traceback and forget which environment it was.

    Args:
        environment: to call.
    """

    def __init__(self, environment: Any) -> None:
        from gymnasium.vector.utils import batch_space, create_empty_array, iterate

        self.environment = environment
        self._replay = EpisodeReplay(environment)
        self.to_replay: dict[str, Any] = {}  # set by the process that steps all
        self._form = ObservationForm(environment.observation_space)
        space = environment.observation_space
        self._nothing = next(iter(iterate(batch_space(space, 1), create_empty_array(space, 1))))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As the environment's; `options` are None."""
        self._replay.begin(seed)
        try:
            observation, info = checked_reset(self.environment, seed)
            self._form.row(observation)
        except Broken as broken:
            return self._nothing, {FAULT: (broken.what, broken.detail)}
        return deepcopy(observation), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """As the environment's."""
        self._replay.actions.append(action)
        try:
            observation, *rest = checked_step(self.environment, action)
            self._form.row(observation)
        except Broken as broken:
            return self._nothing, 0.0, False, False, {FAULT: (broken.what, broken.detail)}
        return deepcopy(observation), *rest

    def episode_state(self) -> dict[str, Any]:
        """Where the environment is: see `EpisodeReplay`."""
        return self._replay.state()

    def replay(self) -> tuple[Any, dict[str, Any], str]:
        """Observation and info after a replay of `to_replay`, and what is wrong with it, or an empty string."""
        try:
            observation, info = self._replay.replay(self.to_replay)
            self._form.row(observation)
        except Broken as broken:
            return None, {}, f"{broken.what}: {broken.detail}"
        return observation, info, ""

    def get_wrapper_attr(self, name: str) -> Any:
        """What gymnasium's worker calls by its name."""
        return getattr(self, name)

    def set_wrapper_attr(self, name: str, value: Any) -> None:
        """What gymnasium's worker sets by its name."""
        setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.environment, name)


@dataclass(frozen=True)
class ReportingMaker:
    """Makes a `Reporting` environment.

    Args:
        maker: of the environment.
    """

    maker: GymnasiumMaker

    def __call__(self) -> Reporting:
        """The environment; in a worker process, its signals are set as well."""
        if multiprocessing.current_process().name.startswith("Worker<"):
            # Ctrl-C reaches all processes, and a run takes its steps to the end; Lightning's handler is none of a worker's
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return Reporting(self.maker())
