"""What a codebook collected between two steps of its optimiser: how often each code was chosen, and by which vectors."""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor


@dataclass
class CodeBatch:
    """Statistics of one forward pass.

    Attributes:
        counts: how many vectors chose each code (K,).
        sums: their sums (K, D).
        vectors: candidates for the places of dead codes (N, D).
        errors: squared distance of each to its code (N,).
        totals: further sums that the codebook needs (T,).
        free: whether the vectors needed no gradient.
        counted: keeps a second backward pass from counting it again.
    """

    counts: Tensor
    sums: Tensor
    vectors: Tensor
    errors: Tensor
    totals: Tensor
    free: bool = False
    counted: bool = False

    @staticmethod
    def empty(num_codes: int, dim: int, totals: int, device: torch.device) -> "CodeBatch":
        """That of no vector."""
        zeros = torch.zeros(num_codes, dim, device=device, dtype=torch.float32)
        return CodeBatch(zeros[:, 0], zeros, zeros[:0], zeros[:0, 0], zeros.new_zeros(totals))


class CodeWindow:
    """The statistics of all the passes between two steps, as of one batch.

    Args:
        batch: of the first pass.
        most: how many vectors it keeps of several passes.
    """

    def __init__(self, batch: CodeBatch, most: int) -> None:
        self.batch, self.most, self.passes = batch, most, 1

    @property
    def free(self) -> bool:
        """Whether the vectors needed no gradient."""
        return self.batch.free

    def state(self) -> dict[str, Any]:
        """What it holds, as plain values and tensors."""
        return {"batch": dict(vars(self.batch)), "most": self.most, "passes": self.passes}

    @classmethod
    def of(cls, state: dict[str, Any], device: torch.device) -> Self:
        """The window of a `state`."""
        values: dict[str, Any] = {
            name: each.to(device) if isinstance(each, Tensor) else each for name, each in state["batch"].items()
        }
        window = cls(CodeBatch(**values), state["most"])
        window.passes = state["passes"]
        return window

    def add(self, batch: CodeBatch) -> None:
        """Adds a pass, in place."""
        self.passes += 1
        whole = self.batch
        whole.counts, whole.sums = whole.counts + batch.counts, whole.sums + batch.sums
        whole.totals = whole.totals + batch.totals
        whole.vectors = torch.cat([whole.vectors, batch.vectors])
        whole.errors = torch.cat([whole.errors, batch.errors])
        if len(whole.vectors) > self.most:
            kept = evenly_spaced(len(whole.vectors), self.most, whole.vectors.device)
            whole.vectors, whole.errors = whole.vectors[kept], whole.errors[kept]


def evenly_spaced(length: int, count: int, device: torch.device) -> Tensor:
    """`count` of `length` positions, evenly spaced; all of them if there are no more."""
    count = min(count, length)
    return torch.arange(count, device=device) * length // max(1, count)
