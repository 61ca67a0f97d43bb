"""gymnasium environments in a process each: for environments that take long to step."""

import sys
import warnings
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.control.vector.base import EnvironmentFault, Observed, Step
from discrete_lightning.control.vector.guard import Broken
from discrete_lightning.control.vector.gymnasium_base import Replayed, name_of, time_limit_of
from discrete_lightning.control.vector.gymnasium_maker import GymnasiumMaker, import_gymnasium
from discrete_lightning.control.vector.gymnasium_vector import GymnasiumVector
from discrete_lightning.control.vector.reporting import ReportingMaker


class GymnasiumProcesses(GymnasiumVector):
    """A `gymnasium.vector.AsyncVectorEnv` whose environments are checked in their own processes.

    A resumed run replays the running episodes there: see `EpisodeReplay`.

    Args:
        maker: of one environment.
        count: number of environments, and of processes.
        first: number of the first one among those of all processes.
        total: number of those of all processes.
        masks: whether `info["action_mask"]` says which actions are legal.
        device: of the tensors.

    Raises:
        ValueError: an environment cannot be made; see also `GymnasiumVector`.
    """

    resumes = True

    def __init__(
        self,
        maker: GymnasiumMaker,
        count: int,
        first: int = 0,
        total: int | None = None,
        masks: bool = True,
        device: torch.device | str = "cpu",
    ) -> None:
        gymnasium = import_gymnasium()
        one = maker()  # says what is wrong before there are processes
        one.close()
        with warnings.catch_warnings():
            # a thread of torch that holds a lock would matter to a child that uses torch, which these do not
            warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
            vector = gymnasium.vector.AsyncVectorEnv(
                [ReportingMaker(maker)] * count, autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP
            )
        super().__init__(vector, first, total, name_of(one), masks, time_limit_of(one), device)
        self.reward_threshold = getattr(one.spec, "reward_threshold", None)

    def reset(self, seed: int) -> Observed:
        try:
            return super().reset(seed)
        except EnvironmentFault:
            self._end()
            raise

    def step(self, actions: Tensor, active: Tensor | None = None) -> Step:
        try:
            return super().step(actions, active)
        except EnvironmentFault:
            self._end()
            raise

    def _episodes(self) -> list[dict[str, Any]]:
        found = self._called("episode_state")
        for each in found:  # names of which there is one object are written to a file once
            each["attributes"] = {sys.intern(name): value for name, value in each["attributes"].items()}
        return list(found)

    def _replay(self, episodes: list[dict[str, Any]]) -> list[Replayed]:
        self.vector.set_attr("to_replay", episodes)
        return list(self._called("replay"))

    def _called(self, name: str) -> Any:
        try:
            return self.vector.call(name)
        except Exception as error:
            raise self._failed(f"{name}()", error) from error

    def close(self) -> None:
        """Ends the processes; those that do not answer as well."""
        if self.vector.closed:
            return
        if all(each.is_alive() for each in self.vector.processes):
            with suppress(Exception):
                self.vector.close()
                return
        self._end()

    def _failed(self, call: str, error: Exception) -> EnvironmentFault:
        # a pipe may report the end of a process before the process can be waited for
        for each in self.vector.processes:
            if isinstance(error, EOFError | ConnectionError):
                each.join(0.2)
        dead = [i for i, each in enumerate(self.vector.processes) if not each.is_alive()]
        code = self.vector.processes[dead[0]].exitcode if dead else None
        self._end()
        if not dead:
            return super()._failed(call, error)
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        return self._fault(dead[0], Broken(call, f"its process {how}"), step=call == "step()")

    def _end(self) -> None:
        """Ends the processes without asking them, and keeps gymnasium from doing so."""
        if self.vector.closed:
            return
        self.vector.closed = True
        for each in self.vector.processes:
            each.terminate()
        for pipe in self.vector.parent_pipes:
            if pipe is not None:
                pipe.close()
        for each in self.vector.processes:
            each.join(5)
