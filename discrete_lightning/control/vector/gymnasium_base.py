"""What the ways to step gymnasium environments together share: their spaces, and the words for what went wrong."""

from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from discrete_lightning.control.vector.base import EnvironmentFault, Observed, VectorEnvironments
from discrete_lightning.control.vector.episode_replay import MASK
from discrete_lightning.control.vector.guard import Broken
from discrete_lightning.control.vector.spaces import ActionForm, ObservationForm, first_row, not_finite

__all__ = ["MASK", "GymnasiumBase", "Replayed", "name_of", "time_limit_of"]

Replayed = tuple[Any, dict[str, Any], str]  # observation, info, and what is wrong, if anything


class GymnasiumBase(VectorEnvironments):
    """What the two ways to step gymnasium environments share: their spaces, and the words for what went wrong.

    Args:
        observation_space: of one environment.
        action_space: likewise.
        spec: gymnasium's, or None.
        name: of the environment, in messages.
        count: number of environments.
        first: number of the first one among those of all processes.
        total: number of those of all processes; `first + count` by default.
        masks: whether `info["action_mask"]` says which actions are legal.
        time_limit: the most steps of an episode, or None; one that is longer is a fault.
        device: of the tensors.

    Raises:
        ValueError: actions are not discrete, observations have no fixed size.
    """

    def __init__(
        self,
        observation_space: Any,
        action_space: Any,
        spec: Any,
        name: str,
        count: int,
        first: int,
        total: int | None,
        masks: bool,
        time_limit: int | None,
        device: torch.device | str,
    ) -> None:
        try:
            self._form, self._action_form = ObservationForm(observation_space), ActionForm(action_space)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        self.name, self.count, self.first, self.masks, self.device = name, count, first, masks, torch.device(device)
        self.total = first + count if total is None else total
        self.observation_shape, self.states = self._form.shape, self._form.states
        self.actions = self._action_form.actions
        self.time_limit = time_limit
        self.reward_threshold = getattr(spec, "reward_threshold", None)
        self._age = np.zeros(count, np.int64)  # steps that were taken in the episode
        self._legal: NDArray[np.bool_] | None = None
        self._rows = np.zeros((count, *self.observation_shape), np.float32)  # of the last observations

    def state_dict(self) -> dict[str, Any]:
        """Of each environment the start of its episode and the actions since, for a replay; empty where there is none."""
        if not self.resumes:
            return {}
        return {"episodes": [{**each, "observation": self._digest(i)} for i, each in enumerate(self._episodes())]}

    def load_state_dict(self, state: dict[str, Any]) -> Observed:
        """Goes on from `state_dict`; returns what there is to act on.

        Raises:
            EnvironmentFault: an environment does not come to where it was; all must be reset.
        """
        if not self.resumes or len(state.get("episodes", ())) != self.count:
            raise EnvironmentFault(f"{self.name}: the checkpoint holds no episodes of {self.count} such environments")
        found = self._replay(state["episodes"])
        masked = self.masks and any(MASK in info for _, info, _ in found)
        self._legal = np.ones((self.count, sum(self.actions)), bool) if masked else None
        for i, ((observation, info, wrong), saved) in enumerate(zip(found, state["episodes"], strict=True)):
            try:
                if wrong:
                    raise self._not_replayed(i, wrong)
                self._rows[i] = self._form.row(observation)
                if self._legal is not None:
                    self._legal[i] = self._action_form.legal(info.get(MASK))
            except Broken as broken:
                raise self._not_replayed(i, f"{broken.what}: {broken.detail}") from broken
            if self._digest(i) != saved["observation"]:
                raise self._not_replayed(i, "replay: its observation is another one")
            self._age[i] = len(saved["actions"])
        return self._observed(self._rows.copy())

    def _episodes(self) -> list[dict[str, Any]]:
        """The state of each environment's `EpisodeReplay`."""
        raise NotImplementedError

    def _replay(self, episodes: list[dict[str, Any]]) -> list[Replayed]:
        """What each environment gives after a replay of its episode."""
        raise NotImplementedError

    def _digest(self, index: int) -> str:
        """Of what there is to act on in an environment."""
        legal = b"" if self._legal is None else self._legal[index].tobytes()
        return sha256(np.ascontiguousarray(self._rows[index]).tobytes() + legal).hexdigest()[:16]

    def _not_replayed(self, index: int, why: str) -> EnvironmentFault:
        return EnvironmentFault(f"environment {self.first + index} of {self.total}, counted from 0: {why}")

    def _fault(self, index: int, broken: Broken, step: bool = True) -> EnvironmentFault:
        when = f"at step {self._age[index] + 1} of its episode" if step else "at the start of an episode"
        where = f"environment {self.first + index} of {self.total} ({self.name}, counted from 0)"
        return EnvironmentFault(f"{where}: {broken.what} {when}: {broken.detail}")

    def _given(self, actions: Tensor) -> NDArray[np.int64]:
        """The actions as an array.

        Raises:
            ValueError: they are of another shape or type.
        """
        expected = (self.count, len(self.actions))
        if actions.shape != expected or actions.dtype.is_floating_point:
            raise ValueError(f"actions: expected int64 {expected}, got {actions.dtype} {tuple(actions.shape)}")
        return actions.detach().cpu().numpy().astype(np.int64, copy=False)

    def _check_range(self, given: NDArray[np.int64], active: NDArray[np.bool_] | None) -> None:
        if active is not None:
            given = np.where(active[:, None], given, 0)
        if (bad := self._action_form.out_of_range(given)) is not None:
            raise self._fault(bad[0], Broken("action", bad[1]))

    def _check_finite(self, rows: NDArray[np.float32], step: bool = True) -> None:
        if (index := first_row(rows, not_finite)) is not None:
            raise self._fault(index, Broken("observation", "it has entries that are NaN or infinite"), step)

    def _check_length(self) -> None:
        """After a step, when those that have ended are at the start of another episode."""
        if self.time_limit is not None and self._age.max() >= self.time_limit:
            index = int(self._age.argmax())
            self._age[index] -= 1  # of the step that was the last one
            raise self._fault(index, Broken("episode", f"it goes on after the time limit of {self.time_limit} steps"))

    def _observed(self, rows: NDArray[np.float32]) -> Observed:
        legal = None if self._legal is None else self._tensor(self._legal.copy())
        return Observed(self._tensor(rows), legal)

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(array)
        return tensor if self.device.type == "cpu" else tensor.to(self.device)


def name_of(environment: Any) -> str:
    """The id that gymnasium knows an environment by, else the name of its class."""
    spec = getattr(environment, "spec", None)
    return spec.id if spec is not None else type(getattr(environment, "unwrapped", environment)).__name__


def time_limit_of(environment: Any) -> int | None:
    """The most steps of an episode: gymnasium's of its id, that of a `TimeLimit`, or an attribute `time_limit` of its own."""
    from gymnasium.wrappers import TimeLimit

    spec = getattr(environment, "spec", None)
    if spec is not None and spec.max_episode_steps is not None:
        return spec.max_episode_steps
    each = environment
    while each is not each.unwrapped:
        if isinstance(each, TimeLimit):
            return each._max_episode_steps
        each = each.env
    return getattr(each, "time_limit", None)
