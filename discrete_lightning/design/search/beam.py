"""The beam of one sequence in local search: its best relatives with their gradients, and the sequences already tried."""

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.design.search.sequence_keys import KEY_BYTES, sequence_keys


@dataclass
class Scored:
    """Evaluated sequences: tokens (f, length), scores and totals (f,), gradients of the scores (f, length, letters)."""

    tokens: Tensor
    scores: Tensor
    totals: Tensor
    slopes: Tensor

    def __getitem__(self, index: Tensor) -> "Scored":
        return Scored(self.tokens[index], self.scores[index], self.totals[index], self.slopes[index])

    def merged(self, other: "Scored", count: int) -> "Scored":
        """The best `count` of both, best first."""
        both = Scored(*(torch.cat([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))
        return both[both.totals.argsort(stable=True)[:count]]

    def tensors(self) -> list[Tensor]:
        """The four tensors, in the order of the constructor."""
        return [getattr(self, each.name) for each in fields(self)]


class Beam:
    """Local search of one sequence.

    Args:
        members: the evaluated sequence (one row).

    Attributes:
        members: the best relatives since the last restart, best first.
        best: the best sequence since the beginning (one row).
        seen: keys of all sequences evaluated.
        failures: rounds in a row without improvement.
        restarts: the number of restarts so far.
        stuck: restarts in a row for which no new sequence was found.
    """

    def __init__(self, members: Scored) -> None:
        self.members, self.best = members, members
        self.seen = set(sequence_keys(members.tokens))
        self.failures = self.restarts = self.stuck = 0

    def update_best(self) -> None:
        """Replaces `best` if the first member is better."""
        if self.members.totals[0] < self.best.totals[0]:
            self.best = self.members[torch.zeros(1, dtype=torch.int64, device=self.members.totals.device)]

    def state(self) -> dict[str, Any]:
        """Everything that a checkpoint needs."""
        return {
            "members": self.members.tensors(),
            "best": self.best.tensors(),
            "seen": torch.frombuffer(bytearray(b"".join(sorted(self.seen))), dtype=torch.uint8),
            "failures": self.failures,
            "restarts": self.restarts,
            "stuck": self.stuck,
        }

    @classmethod
    def restored(cls, state: dict[str, Any], device: torch.device) -> "Beam":
        """A beam from what `state` returned."""
        beam = cls(Scored(*(each.to(device) for each in state["members"])))
        beam.best = Scored(*(each.to(device) for each in state["best"]))
        seen = state["seen"].cpu().numpy().tobytes()
        beam.seen = {seen[i : i + KEY_BYTES] for i in range(0, len(seen), KEY_BYTES)}
        beam.failures, beam.restarts, beam.stuck = state["failures"], state["restarts"], state.get("stuck", 0)
        return beam
