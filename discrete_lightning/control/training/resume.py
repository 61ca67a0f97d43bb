"""Where the environments of a fit are, for its checkpoints: of all ranks, so that any of them can write the file."""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.control.collector import Collector
from discrete_lightning.control.replay import Replay
from discrete_lightning.control.reward_scale import RewardScale
from discrete_lightning.control.vector.base import EnvironmentFault
from discrete_lightning.control.vector.failing_together import failing_together
from discrete_lightning.distributed import all_gather_objects, all_gather_rows, rank, world_size

_ROWS = ("returns", "lengths", "running")
_OF_EACH = ("state", "steps", "episodes")  # of the state of environments: one row, or entry of a list, for each


def collector_state(collector: Collector, running: Tensor | None) -> dict[str, Any]:
    """The state after an update, of all ranks: called by all of them.

    Args:
        collector: of the fit.
        running: a number of each environment that goes with it, such as its discounted return.
    """
    state = collector.state_dict()
    if running is not None:
        state["running"] = running.clone()
    if world_size() > 1:
        for name in _ROWS:
            if name in state:
                state[name] = all_gather_rows(state[name].to(collector.device))
        if "environments" in state:
            state["environments"] = {
                name: _of_all_ranks(each) if name in _OF_EACH else each for name, each in state["environments"].items()
            }
    return state


def _of_all_ranks(each: Any) -> Any:
    if isinstance(each, Tensor):
        return all_gather_rows(each)
    return [one for part in all_gather_objects(each) for one in part]


def restore_collector(
    collector: Collector,
    state: dict[str, Any],
    memory: Replay | None,
    whole_episodes: bool = False,
    memory_follows: bool = False,
) -> Tensor | None:
    """Goes on from `collector_state`, with a line where that is not possible. Returns `running` of this rank's environments.

    Where an environment of any rank does not come to where it was, all episodes start anew on all ranks.

    Args:
        collector: of the fit.
        state: of all ranks; empty where nothing is resumed.
        memory: of the method.
        whole_episodes: whether each rollout starts its episodes anew in any case.
        memory_follows: whether the memory is restored later on.
    """
    if not state:
        return None
    remembers = memory is None or memory_follows
    if memory is not None and not memory_follows:
        remembers = "memory" in state and memory.load_state_dict(state["memory"], collector)
    state, total = dict(state), collector.total
    if "lengths" in state and len(state["lengths"]) == total and "environments" in state:
        own = collector.own
        for name in _ROWS:
            if name in state:
                state[name] = state[name][own].to("cpu" if name != "running" else collector.device)
        state["environments"] = {
            name: each[own] if name in _OF_EACH else each for name, each in state["environments"].items()
        }
        if whole_episodes:
            del state["environments"]
    else:
        state.pop("environments", None)
        state.pop("running", None)
    goes_on, why = False, ""
    try:
        with failing_together(collector.device):
            goes_on = collector.load_state_dict(state)
    except EnvironmentFault as fault:
        del state["environments"]
        state.pop("running", None)
        collector.load_state_dict(state)
        why = f" ({fault})"
    lost = [] if (goes_on and not why) or whole_episodes else [f"episodes start anew{why}"]
    lost += [] if remembers else ["the memory of transitions fills anew"]
    _say_lost(collector, lost)
    running: Tensor | None = state.get("running")
    return running if running is None else torch.as_tensor(running)


class FitState:
    """What a fit in environments adds to its checkpoints, and what it takes from one.

    Args:
        memory: of the method. That of several ranks is saved by `ExactResume`, as the state of each rank.
    """

    def __init__(self, memory: Replay | None) -> None:
        self._memory = memory
        self._collector: Collector | None = None
        self._rewards: RewardScale | None = None
        self._last: dict[str, Any] = {}
        self._restored: dict[str, Any] = {}
        self._awaits_memory = False  # of this rank

    def loaded(self, state: dict[str, Any]) -> None:
        """Takes what a checkpoint holds."""
        self._restored = state

    def go_on(self, collector: Collector, rewards: RewardScale | None, whole_episodes: bool) -> None:
        """Begins a fit, from where it was; see `restore_collector`."""
        self._collector, self._rewards = collector, rewards
        ranks = self._restored.get("memory_of_ranks", 1)
        self._awaits_memory = self._memory is not None and 1 < ranks == world_size()
        running = restore_collector(collector, self._restored, self._memory, whole_episodes, self._awaits_memory)
        if rewards is not None:
            rewards.running = running
        self._restored = {}
        self.note()  # so that a checkpoint before the first update has it

    def begin_update(self) -> None:
        """The states of ranks are restored by now."""
        if self._awaits_memory and self._collector is not None:
            self._awaits_memory = False
            _say_lost(self._collector, ["the memory of transitions fills anew"])

    def note(self) -> None:
        """Takes note of where the environments are, after an update; called by all ranks."""
        if self._collector is not None:
            self._last = collector_state(self._collector, None if self._rewards is None else self._rewards.running)

    def saved(self) -> dict[str, Any]:
        """For a checkpoint."""
        state = dict(self._last if self._collector is not None else self._restored)
        if self._memory is not None and state and self._collector is not None:
            if world_size() == 1:
                state["memory"] = self._memory.state_dict()
            else:
                state["memory_of_ranks"] = world_size()
        return state

    def rank_state(self) -> Any:
        """See `HasRankState`."""
        return None if self._memory is None or world_size() == 1 else self._memory.state_dict()

    def set_rank_state(self, state: Any) -> None:
        """See `HasRankState`."""
        if state is not None and self._awaits_memory and self._memory is not None and self._collector is not None:
            self._awaits_memory = not self._memory.load_state_dict(state, self._collector, own=True)

    def end(self) -> None:
        """Ends the fit, and closes its environments."""
        if self._collector is not None:
            self._collector.environments.close()
        self._collector, self._rewards, self._last = None, None, {}


def _say_lost(collector: Collector, lost: list[str]) -> None:
    if lost and rank() == 0:
        print(
            f"note: {collector.environments.name}: {' and '.join(lost)}; policy, optimiser and noise go on", flush=True
        )
