"""States of a metric that are lists of whole numbers, gathered from all ranks."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors


def _gather(values: Tensor, group: Any = None) -> list[Tensor]:
    # torchmetrics gathers an empty float tensor from a rank that has seen nothing, which would not fit the others' int64
    found: list[Tensor] = gather_all_tensors(values.to(torch.int64), group)
    return found


class GatheredMetric(Metric):
    """A metric whose list states hold int64 tensors, and whose other states are int64, too."""

    is_differentiable = False
    full_state_update = False

    def __init__(self) -> None:
        super().__init__(dist_sync_fn=_gather)

    def gathered(self, name: str) -> NDArray[np.int64]:
        """All that was collected in the list state `name`: of this rank in `update`, of all ranks in `compute`."""
        state: Tensor | list[Tensor] = getattr(self, name)
        parts = [state] if isinstance(state, Tensor) else state
        return np.concatenate([np.zeros(0, dtype=np.int64), *(each.cpu().numpy() for each in parts)])

    def collect(self, name: str, values: NDArray[np.int64]) -> None:
        """Adds to the list state `name`."""
        getattr(self, name).append(torch.from_numpy(values).to(self.device))
