"""Where the environments of a fit are, for its checkpoints: of all ranks, so that any of them can write the file."""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.control.collector import Collector
from discrete_lightning.control.replay import Replay
from discrete_lightning.distributed import all_gather_rows, rank, world_size

_ROWS = ("returns", "lengths", "running")


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
                name: all_gather_rows(each) if name in ("state", "steps") else each
                for name, each in state["environments"].items()
            }
    return state


def restore_collector(
    collector: Collector, state: dict[str, Any], memory: Replay | None, whole_episodes: bool = False
) -> Tensor | None:
    """Goes on from `collector_state`, with a line where that is not possible. Returns `running` of this rank's environments.

    Args:
        collector: of the fit.
        state: of all ranks; empty where nothing is resumed.
        memory: of the method.
        whole_episodes: whether each rollout starts its episodes anew in any case.
    """
    if not state:
        return None
    remembers = memory is None or ("memory" in state and memory.load_state_dict(state["memory"], collector))
    state, total = dict(state), collector.total
    fits = "lengths" in state and len(state["lengths"]) == total
    if "environments" in state and fits:
        own = collector.own
        for name in _ROWS:
            if name in state:
                state[name] = state[name][own].to("cpu" if name != "running" else collector.device)
        state["environments"] = {
            name: each[own] if name in ("state", "steps") else each for name, each in state["environments"].items()
        }
    else:
        state.pop("environments", None)
        state.pop("running", None)
    lost = [] if collector.load_state_dict(state) or whole_episodes else ["episodes start anew"]
    lost += [] if remembers else ["the memory of transitions fills anew"]
    if lost and rank() == 0:
        print(
            f"note: {collector.environments.name}: {' and '.join(lost)}; policy, optimiser and noise go on", flush=True
        )
    running: Tensor | None = state.get("running")
    return running if running is None else torch.as_tensor(running)
