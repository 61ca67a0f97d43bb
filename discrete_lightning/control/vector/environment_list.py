"""gymnasium environments stepped one after another in this process: the default way to step them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from discrete_lightning.control.vector.base import Observed, Step, all_counted
from discrete_lightning.control.vector.guard import Broken, checked_reset, checked_step
from discrete_lightning.control.vector.gymnasium_base import MASK, GymnasiumBase, name_of


class EnvironmentList(GymnasiumBase):
    """n gymnasium environments in this process, stepped one after another.

    An episode that ends is followed by another one in the same step. Everything that an environment returns is checked. An
    environment that stands still (`active`) is not called.

    Args:
        environments: with equal spaces; they are reset and closed here.
        first: number of the first one among those of all processes.
        total: number of those of all processes; `first + count` by default.
        name: in messages; that of the first environment by default.
        masks: whether `info["action_mask"]` of `reset` and `step` says which actions are legal, as in Taxi.
        device: of the tensors.

    Raises:
        ValueError: there are none, their spaces differ, or are not supported: see `ObservationForm` and `ActionForm`.

    Example:
        >>> import gymnasium, torch
        >>> environments = EnvironmentList([gymnasium.make("CartPole-v1") for _ in range(3)])
        >>> environments.reset(seed=0).observations.shape
        torch.Size([3, 4])
        >>> environments.step(torch.tensor([[0], [1], [1]])).rewards
        tensor([1., 1., 1.])
    """

    def __init__(
        self,
        environments: Sequence[Any],
        first: int = 0,
        total: int | None = None,
        name: str | None = None,
        masks: bool = True,
        device: torch.device | str = "cpu",
    ) -> None:
        if not environments:
            raise ValueError("environments: expected one or more, got none")
        one = environments[0]
        spaces = (one.observation_space, one.action_space)
        name = name or name_of(one)
        for i, each in enumerate(environments):
            if (each.observation_space, each.action_space) != spaces:
                raise ValueError(f"{name}: environment {i} has other spaces than environment 0")
        super().__init__(*spaces, one.spec, name, len(environments), first, total, masks, device)
        self.environments = list(environments)
        self._rows = np.zeros((self.count, *self.observation_shape), np.float32)

    def reset(self, seed: int) -> Observed:
        self._age[:], self._legal = 0, None
        infos = [self._reset(i, self._rows, seed + self.first + i) for i in range(self.count)]
        self._check_finite(self._rows, step=False)
        if self.masks and any(MASK in info for info in infos):
            self._legal = np.ones((self.count, sum(self.actions)), bool)
            for i, info in enumerate(infos):
                self._note_legal(i, info, step=False)
        return self._observed(self._rows.copy())

    def step(self, actions: Tensor, active: Tensor | None = None) -> Step:
        given = self._given(actions)
        moving = np.ones(self.count, bool) if active is None else active.cpu().numpy()
        self._check_range(given, moving)
        native = self._action_form.native(given)
        rows, rewards = self._rows.copy(), np.zeros(self.count, np.float64)
        terminated, truncated = np.zeros(self.count, bool), np.zeros(self.count, bool)
        infos: dict[int, dict[str, Any]] = {}
        for i in np.flatnonzero(moving).tolist():
            try:
                observation, rewards[i], terminated[i], truncated[i], infos[i] = checked_step(
                    self.environments[i], native[i]
                )
                rows[i] = self._form.row(observation)
            except Broken as broken:
                raise self._fault(i, broken) from broken.__cause__
        self._check_finite(rows)
        ended = np.flatnonzero(terminated | truncated).tolist()
        final = rows
        if ended:
            final = rows.copy()
            for i in ended:
                infos[i] = self._reset(i, rows, None)
            self._check_finite(rows, step=False)
        if self.masks:
            for i, info in infos.items():
                self._note_legal(i, info, step=True)
        self._age[moving] += 1
        self._age[ended] = 0
        self._rows = rows
        earned = self._tensor(rewards.astype(np.float32))
        following = self._observed(rows.copy())
        last = self._tensor(final) if ended else following.observations
        return Step(following, earned, self._tensor(terminated), self._tensor(truncated), last, all_counted(earned))

    def _reset(self, index: int, rows: NDArray[np.float32], seed: int | None) -> dict[str, Any]:
        try:
            observation, info = checked_reset(self.environments[index], seed)
            rows[index] = self._form.row(observation)
        except Broken as broken:
            raise self._fault(index, broken, step=False) from broken.__cause__
        return info

    def _note_legal(self, index: int, info: dict[str, Any], step: bool) -> None:
        if (MASK in info) != (self._legal is not None):
            missing = (
                "missing, and was there before" if self._legal is not None else "it was missing at the first reset"
            )
            raise self._fault(index, Broken("info['action_mask']", f"{missing}: set masks=False to do without"), step)
        if self._legal is not None:
            try:
                self._legal[index] = self._action_form.legal(info[MASK])
            except Broken as broken:
                raise self._fault(index, broken, step) from None

    def frame(self, index: int = 0) -> Any:
        from discrete_lightning.control.vector.frames import frame_of

        return frame_of(self.environments[index], self._rows[index], self.name)

    def close(self) -> None:
        for each in self.environments:
            each.close()
