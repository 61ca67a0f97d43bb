"""A `gymnasium.vector.VectorEnv` in the one form, whichever way it starts episodes anew."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from discrete_lightning.control.vector.base import EnvironmentFault, Observed, Step
from discrete_lightning.control.vector.guard import FAULT, Broken, exception_of
from discrete_lightning.control.vector.gymnasium_base import MASK, GymnasiumBase, name_of
from discrete_lightning.control.vector.spaces import first_row, not_finite

_STEP = "expected (observations, rewards, terminations, truncations, infos)"


class GymnasiumVector(GymnasiumBase):
    """A `gymnasium.vector.VectorEnv` of any kind: sync, async, or one that computes with arrays.

    What follows the end of an episode is read from `metadata["autoreset_mode"]`:

        NEXT_STEP   the step after the end ignores its action and returns the first observation: `counted` is False there
        SAME_STEP   the observation is the first one already, the last one is `infos["final_obs"]`
        DISABLED    the ended environments are reset here, with `options={"reset_mask": ...}`

    The same policy and seeds give the same transitions in each. Environments cannot stand still: those that are not `active`
    take their steps, too. In SAME_STEP, environments must not use one array for all their observations: gymnasium would have
    overwritten the last one of an episode by the first of the next.

    Args:
        vector: the environments; they are reset and closed here.
        first: number of the first one among those of all processes.
        total: number of those of all processes; `first + count` by default.
        name: in messages; by default the id.
        masks: whether `infos["action_mask"]` says which actions are legal.
        time_limit: the most steps of an episode where the environments do not say; an episode that is longer is a fault.
        device: of the tensors.

    Raises:
        ValueError: the mode is none of the three, or the spaces are not supported: see `ObservationForm` and `ActionForm`.

    Example:
        >>> import gymnasium, torch
        >>> environments = GymnasiumVector(gymnasium.make_vec("CartPole-v1", num_envs=3))
        >>> environments.reset(seed=0).observations.shape
        torch.Size([3, 4])
        >>> environments.step(torch.tensor([[0], [1], [1]])).counted
        tensor([True, True, True])
    """

    def __init__(
        self,
        vector: Any,
        first: int = 0,
        total: int | None = None,
        name: str | None = None,
        masks: bool = True,
        time_limit: int | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        name = name or name_of(vector)
        self.mode = _mode(vector, name)
        spaces = vector.single_observation_space, vector.single_action_space
        limit = getattr(vector.spec, "max_episode_steps", None) or getattr(vector, "time_limit", None) or time_limit
        super().__init__(*spaces, vector.spec, name, vector.num_envs, first, total, masks, limit, device)
        self.vector = vector
        self._resetting = np.zeros(self.count, bool)  # the next step of these only resets them

    def reset(self, seed: int) -> Observed:
        self._age[:], self._legal, self._resetting[:] = 0, None, False
        every = np.ones(self.count, bool)
        observations, infos = self._reset(seed + self.first, None)
        self._rows = self._of(observations, every, step=False)
        if self.masks and MASK in infos:
            self._legal = np.ones((self.count, sum(self.actions)), bool)
            self._note_legal(infos, every, step=False)
        return self._observed(self._rows.copy())

    def step(self, actions: Tensor, active: Tensor | None = None) -> Step:
        given = self._given(actions)
        if active is not None:  # of those that should stand still any action will do
            given = np.clip(given, 0, np.array(self.actions) - 1)
        counted = ~self._resetting
        self._check_range(given, counted)
        observations, rewards, terminated, truncated, infos = self._step(np.where(counted[:, None], given, 0))
        rewards, terminated, truncated = np.where(counted, rewards, 0), terminated & counted, truncated & counted
        if (index := first_row(rewards, not_finite)) is not None:
            raise self._fault(index, Broken("reward", f"{rewards[index]}, expected a finite number"))
        ended = terminated | truncated
        rows = self._of(observations, counted, step=True)
        final = rows
        if self.mode == "SAME_STEP" and ended.any():
            final = self._final(rows, infos, ended)
        elif self.mode == "DISABLED" and ended.any():
            fresh, infos_of_reset = self._reset(None, ended.copy())
            final, rows = rows, np.where(_wide(ended, rows), self._of(fresh, ended, step=False), rows)
            self._note_legal(infos, ~ended)
            self._note_legal(infos_of_reset, ended, step=False)
        if self.mode != "DISABLED" or not ended.any():
            self._note_legal(infos, ~ended if self.mode == "NEXT_STEP" else np.ones(self.count, bool))
        if self._legal is not None and self.mode == "NEXT_STEP":
            self._legal[ended] = True  # the action there is ignored
        self._resetting = ended if self.mode == "NEXT_STEP" else np.zeros(self.count, bool)
        self._age += counted
        self._age[ended] = 0
        self._check_length()
        self._rows = rows
        following = self._observed(rows.copy())
        last = following.observations if final is rows else self._tensor(final)
        earned = self._tensor(rewards.astype(np.float32))
        return Step(
            following, earned, self._tensor(terminated), self._tensor(truncated), last, self._tensor(counted.copy())
        )

    def frame(self, index: int = 0) -> Any:
        from discrete_lightning.control.vector.frames import frame_of, picture

        if hasattr(self.vector, "envs"):
            return frame_of(self.vector.envs[index], self._rows[index], self.name)
        try:
            rendered = self.vector.render() if self.vector.render_mode in ("rgb_array", "ansi") else None
            return picture(None if rendered is None else rendered[index], self._rows[index])
        except Exception as error:
            raise EnvironmentFault(f"{self.name} cannot be drawn: {' '.join(str(error).split())}") from error

    def close(self) -> None:
        if not self.vector.closed:
            self.vector.close()

    def _reset(self, seed: int | None, mask: NDArray[np.bool_] | None) -> tuple[Any, dict[str, Any]]:
        options = None if mask is None else {"reset_mask": mask}
        try:
            result = self.vector.reset(seed=seed, options=options)
        except Exception as error:
            raise self._failed("reset()", error) from error
        if type(result) is not tuple or len(result) != 2:
            raise self._of_all(Broken("reset()", "expected the pair (observations, infos)"))
        self._check_reported(result[1], step=False)
        return result

    def _step(self, given: NDArray[np.int64]) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        try:
            result = self.vector.step(self._action_form.native(given))
        except Exception as error:
            raise self._failed("step()", error) from error
        if type(result) is not tuple or len(result) != 5:
            raise self._of_all(Broken("step()", _STEP))
        self._check_reported(result[4], step=True)
        rows = [np.array(each) for each in result[1:4]]
        for what, kinds, each in zip(("rewards", "terminations", "truncations"), ("biuf", "b", "b"), rows, strict=True):
            if each.shape != (self.count,) or each.dtype.kind not in kinds:
                found = f"{each.dtype} {each.shape}"
                raise self._of_all(Broken(f"{what} of step()", f"{found}, expected one for each environment"))
        return result[0], rows[0].astype(np.float64), rows[1], rows[2], result[4]

    def _of(self, observations: Any, rows: NDArray[np.bool_], step: bool) -> NDArray[np.float32]:
        """Observations as rows of their own, checked where `rows`."""
        try:
            found = np.array(self._form.rows(observations, self.vector.observation_space, self.count))
        except Broken as broken:
            raise self._of_all(broken) from None
        self._check_finite(np.where(_wide(rows, found), found, 0), step)
        return found

    def _final(self, rows: NDArray[np.float32], infos: dict[str, Any], ended: NDArray[np.bool_]) -> NDArray[np.float32]:
        final = rows.copy()
        present = infos.get("_final_obs", np.zeros(self.count, bool))
        for i in np.flatnonzero(ended).tolist():
            try:
                if not present[i]:
                    raise Broken(
                        "infos['final_obs']", "missing, though the mode is SAME_STEP and the episode has ended"
                    )
                final[i] = self._form.row(infos["final_obs"][i])
            except Broken as broken:
                raise self._fault(i, broken) from None
        self._check_finite(final)
        return final

    def _note_legal(self, infos: dict[str, Any], rows: NDArray[np.bool_], step: bool = True) -> None:
        if self._legal is None:
            return
        present = infos.get(f"_{MASK}", np.full(self.count, MASK in infos))
        for i in np.flatnonzero(rows).tolist():
            try:
                if not present[i]:
                    raise Broken(f"infos[{MASK!r}]", "missing, and was there before: set masks=False to do without")
                self._legal[i] = self._action_form.legal(infos[MASK][i])
            except Broken as broken:
                raise self._fault(i, broken, step) from None

    def _check_reported(self, infos: dict[str, Any], step: bool) -> None:
        """What went wrong in a process of `GymnasiumProcesses`."""
        if FAULT in infos:
            index = int(np.flatnonzero(infos[f"_{FAULT}"])[0])
            raise self._fault(index, Broken(*infos[FAULT][index]), step)

    def _failed(self, call: str, error: Exception) -> EnvironmentFault:
        return self._of_all(exception_of(call, error))

    def _of_all(self, broken: Broken) -> EnvironmentFault:
        return EnvironmentFault(f"one of the {self.count} environments ({self.name}): {broken.what}: {broken.detail}")


def _wide(rows: NDArray[np.bool_], like: NDArray[Any]) -> NDArray[np.bool_]:
    return rows.reshape(-1, *[1] * (like.ndim - 1))


def _mode(vector: Any, name: str) -> str:
    from gymnasium.vector import AutoresetMode

    found = (vector.metadata or {}).get("autoreset_mode")
    try:
        return str(AutoresetMode(found).name)
    except ValueError:
        raise ValueError(
            f"{name}: its metadata has the autoreset_mode {found!r}, and what follows the end of an episode is not known: set "
            "metadata['autoreset_mode'] to gymnasium.vector.AutoresetMode.NEXT_STEP, SAME_STEP or DISABLED"
        ) from None
