"""What a codebook collected between two steps of its optimiser: how often each code was chosen, and by which vectors."""

from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.vq.step_watch import StepWatch

_MOST_CANDIDATES = 4  # for revival, a code: bounds the memory of many passes without a step


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


class CodeWindow:
    """The statistics of all the passes between two steps, as of one batch.

    Args:
        batch: of the first pass.
        watch: tells when the step has been made; None if nothing can tell.
    """

    def __init__(self, batch: CodeBatch, watch: StepWatch | None) -> None:
        self.batch, self.watch, self.passes = batch, watch, 1

    def add(self, batch: CodeBatch) -> None:
        """Adds a pass, in place."""
        self.passes += 1
        whole = self.batch
        whole.counts, whole.sums = whole.counts + batch.counts, whole.sums + batch.sums
        whole.vectors = torch.cat([whole.vectors, batch.vectors])
        whole.errors = torch.cat([whole.errors, batch.errors])
        if len(whole.vectors) > (most := _MOST_CANDIDATES * len(whole.counts)):
            kept = evenly_spaced(len(whole.vectors), most, whole.vectors.device)
            whole.vectors, whole.errors = whole.vectors[kept], whole.errors[kept]

    def over(self) -> bool:
        """Whether the step that ends it has been made."""
        return self.watch is not None and self.watch.stepped()


def evenly_spaced(length: int, count: int, device: torch.device) -> Tensor:
    """`count` of `length` positions, evenly spaced."""
    return torch.arange(count, device=device) * length // count
