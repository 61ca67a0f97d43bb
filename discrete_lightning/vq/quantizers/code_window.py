"""What a codebook collected between two steps of its optimiser: how often each code was chosen, and by which vectors."""

from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.vq.step_watch import StepWatch


@dataclass
class CodeBatch:
    """Statistics of one forward pass.

    Attributes:
        counts: how many vectors chose each code (K,).
        sums: their sums (K, D).
        vectors: candidates for the places of dead codes (N, D).
        errors: squared distance of each to its code (N,).
        counted: keeps a second backward pass from counting it again.
    """

    counts: Tensor
    sums: Tensor
    vectors: Tensor
    errors: Tensor
    counted: bool = False

    @staticmethod
    def empty(num_codes: int, dim: int, device: torch.device) -> "CodeBatch":
        """That of no vector."""
        zeros = torch.zeros(num_codes, dim, device=device, dtype=torch.float32)
        return CodeBatch(zeros[:, 0], zeros, zeros[:0], zeros[:0, 0])


class CodeWindow:
    """The statistics of all the passes between two steps, as of one batch.

    Args:
        batch: of the first pass.
        watch: tells when the step has been made; None if nothing can tell.
        most: how many vectors it keeps.
    """

    def __init__(self, batch: CodeBatch, watch: StepWatch | None, most: int) -> None:
        self.batch, self.watch, self.most, self.passes = batch, watch, most, 1

    @staticmethod
    def merged(windows: "list[CodeWindow]") -> "CodeWindow | None":
        """All of them as one; None if there is none."""
        for each in windows[1:]:
            windows[0].add(each.batch, each.passes)
        return windows[0] if windows else None

    def add(self, batch: CodeBatch, passes: int = 1) -> None:
        """Adds a pass, in place."""
        self.passes += passes
        whole = self.batch
        whole.counts, whole.sums = whole.counts + batch.counts, whole.sums + batch.sums
        whole.vectors = torch.cat([whole.vectors, batch.vectors])
        whole.errors = torch.cat([whole.errors, batch.errors])
        if len(whole.vectors) > self.most:
            kept = evenly_spaced(len(whole.vectors), self.most, whole.vectors.device)
            whole.vectors, whole.errors = whole.vectors[kept], whole.errors[kept]

    def over(self) -> bool:
        """Whether the step that ends it has been made."""
        return self.watch is not None and self.watch.stepped()

    def watches(self, leaf: Tensor | None) -> bool:
        """Whether it can see the step of the optimiser that trains `leaf`; data, which is another leaf each pass, has none."""
        return self.watch is not None and self.watch.leaf is leaf


def evenly_spaced(length: int, count: int, device: torch.device) -> Tensor:
    """`count` of `length` positions, evenly spaced."""
    return torch.arange(count, device=device) * length // count
