"""What the ways to step gymnasium environments together share: their spaces, and the words for what went wrong."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from discrete_lightning.control.vector.base import EnvironmentFault, Observed, VectorEnvironments
from discrete_lightning.control.vector.guard import Broken
from discrete_lightning.control.vector.spaces import ActionForm, ObservationForm, first_row, not_finite

MASK = "action_mask"


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
        self.time_limit = getattr(spec, "max_episode_steps", None)
        self.reward_threshold = getattr(spec, "reward_threshold", None)
        self._age = np.zeros(count, np.int64)  # steps that were taken in the episode
        self._legal: NDArray[np.bool_] | None = None

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

    def _check_range(self, given: NDArray[np.int64], active: NDArray[np.bool_]) -> None:
        if (bad := self._action_form.out_of_range(np.where(active[:, None], given, 0))) is not None:
            raise self._fault(bad[0], Broken("action", bad[1]))

    def _check_finite(self, rows: NDArray[np.float32], step: bool = True) -> None:
        if (index := first_row(rows, not_finite)) is not None:
            raise self._fault(index, Broken("observation", "it has entries that are NaN or infinite"), step)

    def _observed(self, rows: NDArray[np.float32]) -> Observed:
        legal = None if self._legal is None else self._tensor(self._legal.copy())
        return Observed(self._tensor(rows), legal)

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device)


def name_of(environment: Any) -> str:
    """The id that gymnasium knows an environment by, else the name of its class."""
    spec = getattr(environment, "spec", None)
    return spec.id if spec is not None else type(getattr(environment, "unwrapped", environment)).__name__
