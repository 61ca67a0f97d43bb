"""A memory of transitions, for methods that learn from them more than once."""

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.control.collector import Collector
from discrete_lightning.control.rollout import Rollout


@dataclass
class Transitions:
    """Rows of transitions, (B, ...) each; see `Rollout`."""

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    terminated: Tensor
    counted: Tensor
    after: Tensor
    legal: Tensor | None
    legal_after: Tensor | None


class Replay:
    """The last transitions of n environments, on the host.

    Args:
        capacity: transitions of all processes together; whole steps of all environments are kept.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity, self.taken = capacity, 0  # steps ever taken
        self._held: dict[str, Tensor] = {}

    def __len__(self) -> int:
        """Number of steps that are held."""
        return min(self.taken, self._slots)

    @property
    def _slots(self) -> int:
        return len(self._held["rewards"]) if self._held else 0

    def add(self, rollout: Rollout, total: int) -> None:
        """Adds all steps of a rollout; `total` is the number of environments of all processes."""
        after = torch.cat([rollout.observations[1:], rollout.last.unsqueeze(0)]).clone()
        after[rollout.truncated] = rollout.final
        legal_after = None
        if rollout.legal is not None and rollout.last_legal is not None:
            legal_after = torch.cat([rollout.legal[1:], rollout.last_legal.unsqueeze(0)])
            legal_after = legal_after | rollout.truncated.unsqueeze(
                -1
            )  # the next row is another episode's; see `Rollout.values`
        rows: dict[str, Tensor | None] = {
            "observations": rollout.observations, "actions": rollout.actions, "rewards": rollout.rewards,
            "terminated": rollout.terminated, "counted": rollout.counted, "after": after, "legal": rollout.legal,
            "legal_after": legal_after,
        }  # fmt: skip
        slots = self._slots or max(rollout.steps, self.capacity // max(1, total))
        kept = min(rollout.steps, slots)
        self.taken += rollout.steps
        where = torch.arange(self.taken - kept, self.taken) % slots
        for name, values in rows.items():
            if values is None:
                continue
            if name not in self._held:
                self._held[name] = torch.zeros(slots, *values.shape[1:], dtype=values.dtype)
            self._held[name][where] = values[rollout.steps - kept :].detach().cpu()

    def sample(self, size: int, collector: Collector) -> Transitions:
        """Draws `size` transitions of all processes, with replacement: this process's part, on the collector's device."""
        environments = collector.environments
        drawn = torch.randint(len(self) * collector.total, (size,), generator=collector.generator)
        slot, place = drawn // collector.total, drawn % collector.total - environments.first
        own = (place >= 0) & (place < environments.count)
        rows = {name: values[slot[own], place[own]].to(collector.device) for name, values in self._held.items()}
        return Transitions(**{each.name: rows.get(each.name) for each in fields(Transitions)})  # type: ignore[arg-type]

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: all that is held."""
        return {"taken": self.taken, "held": dict(self._held)}

    def load_state_dict(self, state: dict[str, Any], collector: Collector, own: bool = False) -> bool:
        """Goes on from a `state_dict`; returns whether it could: not with another number of environments, or a larger capacity.

        Args:
            state: of a single process, of whose environments each process takes its own; or of this one.
            collector: of the fit.
            own: whether it is of this one.
        """
        held, total = state["held"], collector.total
        steps = len(held["rewards"]) if held else 0
        expected = collector.environments.count if own else total
        if held and (held["rewards"].shape[1] != expected or steps != max(steps, self.capacity // total)):
            return False
        self.taken = int(state["taken"])
        self._held = {name: each[:, slice(None) if own else collector.own].clone() for name, each in held.items()}
        return True
