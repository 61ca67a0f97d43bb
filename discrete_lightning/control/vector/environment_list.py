"""gymnasium environments stepped one after another in this process: the default way to step them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from discrete_lightning.control.vector.base import Observed, Step
from discrete_lightning.control.vector.episode_replay import EpisodeReplay
from discrete_lightning.control.vector.guard import Broken, checked_reset, checked_step
from discrete_lightning.control.vector.gymnasium_base import MASK, GymnasiumBase, Replayed, name_of, time_limit_of

_NEVER = 2**62


class EnvironmentList(GymnasiumBase):
    """n gymnasium environments in this process, stepped one after another.

    An episode that ends is followed by another one in the same step. Everything that an environment returns is checked. An
    environment that stands still (`active`) is not called. A resumed run replays the running episodes: see `EpisodeReplay`.

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

    resumes = True

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
        known = [limit for each in environments if (limit := time_limit_of(each)) is not None]
        longest = max(known) if len(known) == len(environments) else None
        super().__init__(*spaces, one.spec, name, len(environments), first, total, masks, longest, device)
        self.environments = list(environments)
        self._counted = torch.ones(self.count, dtype=torch.bool, device=self.device)
        self._bare, limits = zip(*(_without_counting(each) for each in environments), strict=True)
        self._limits = np.array(limits)
        self._replays = [EpisodeReplay(*each) for each in zip(self.environments, self._bare, strict=True)]

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
        moving = None if active is None else active.cpu().numpy()
        self._check_range(given, moving)
        native, rows = self._action_form.each(given), self._rows.copy()
        rewards, terminated, truncated = [0.0] * self.count, [False] * self.count, [False] * self.count
        infos: dict[int, dict[str, Any]] = {}
        for i in range(self.count) if moving is None else np.flatnonzero(moving).tolist():
            self._replays[i].actions.append(native[i])
            try:
                observation, rewards[i], terminated[i], truncated[i], infos[i] = checked_step(self._bare[i], native[i])
                rows[i] = self._form.row(observation)
            except Broken as broken:
                raise self._fault(i, broken) from broken.__cause__
        self._check_finite(rows)
        for i in np.flatnonzero(self._age + 1 >= self._limits).tolist():
            truncated[i] = True
        ended = [i for i in infos if terminated[i] or truncated[i]]
        final = rows
        if ended:
            final = rows.copy()
            for i in ended:
                infos[i] = self._reset(i, rows, None)
            self._check_finite(rows, step=False)
        if self.masks:
            for i, info in infos.items():
                self._note_legal(i, info, step=i not in ended)
        self._age += 1 if moving is None else moving
        self._age[ended] = 0
        self._check_length()
        self._rows = rows
        following = self._observed(rows)
        last = self._tensor(final) if ended else following.observations
        earned = self._tensor(np.array(rewards, np.float32))
        ends = self._tensor(np.array((terminated, truncated)))
        return Step(following, earned, ends[0], ends[1], last, self._counted)

    def _reset(self, index: int, rows: NDArray[np.float32], seed: int | None) -> dict[str, Any]:
        self._replays[index].begin(seed)
        try:
            observation, info = checked_reset(self.environments[index], seed)
            rows[index] = self._form.row(observation)
        except Broken as broken:
            raise self._fault(index, broken, step=False) from broken.__cause__
        return info

    def _episodes(self) -> list[dict[str, Any]]:
        return [each.state() for each in self._replays]

    def _replay(self, episodes: list[dict[str, Any]]) -> list[Replayed]:
        found: list[Replayed] = []
        for replay, episode in zip(self._replays, episodes, strict=True):
            try:
                found.append((*replay.replay(episode), ""))
            except Broken as broken:
                found.append((None, {}, f"{broken.what}: {broken.detail}"))
        return found

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


def _without_counting(environment: Any) -> tuple[Any, int]:
    """What to step in place of an environment, and the step that ends an episode: its steps are counted here, in less time.

    The wrappers that `gymnasium.make` adds count steps, and make sure that `reset` comes first.
    """
    from gymnasium.wrappers import OrderEnforcing, TimeLimit

    if type(environment) is TimeLimit and type(environment.env) is OrderEnforcing:
        return environment.env.env, environment._max_episode_steps
    return environment, _NEVER
