"""Returns and lengths of episodes that have ended, counted over all processes."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from discrete_lightning.distributed import all_reduce_sum


@dataclass
class Episodes:
    """Running sums of the episodes of n environments, and those of the episodes that have ended since `take`.

    Attributes:
        returns: undiscounted, of the running episode of each environment, float64 (n,).
        lengths: steps of it, int64 (n,).
    """

    returns: Tensor
    lengths: Tensor
    _ended: Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.float64))

    @classmethod
    def start(cls, count: int) -> "Episodes":
        """The first steps of n episodes."""
        return cls(torch.zeros(count, dtype=torch.float64), torch.zeros(count, dtype=torch.int64))

    def add(self, rewards: Tensor, ended: Tensor, counted: Tensor) -> None:
        """Counts a step; all (n,), on the CPU."""
        self.returns += torch.where(counted, rewards, 0.0)
        self.lengths += counted
        if bool(ended.any()):
            closed = torch.stack([self.returns[ended].sum(), self.lengths[ended].sum(), ended.sum()]).double()
            self._ended = self._ended + closed
            self.returns[ended], self.lengths[ended] = 0.0, 0

    def take(self) -> dict[str, float]:
        """Mean `return` and `length` of the episodes that ended since the last call, on all ranks; empty if none did."""
        total, length, number = all_reduce_sum(self._ended).tolist()
        self._ended = torch.zeros(3, dtype=torch.float64)
        return {"return": total / number, "length": length / number} if number else {}
