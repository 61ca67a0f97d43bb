"""Metrics for each of several data loaders."""

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import nn

Metrics = TypeVar("Metrics", bound=nn.Module)


class PerLoader(nn.ModuleList, Generic[Metrics]):
    """Metrics of one kind, one for each data loader: Lightning gives each loader's figure a name, so each needs a count.

    Args:
        make: makes those of one loader.

    Example:
        >>> from torchmetrics import MeanMetric
        >>> metrics = PerLoader(MeanMetric)
        >>> metrics.of(1, torch.device("cpu")).update(3.0)
        >>> len(metrics), metrics.of(1, torch.device("cpu")).compute()
        (2, tensor(3.))
    """

    def __init__(self, make: Callable[[], Metrics]) -> None:
        super().__init__([make()])
        self.make = make

    def of(self, loader: int, device: torch.device) -> Metrics:
        """Those of a loader, made when it is first met: how many there are is known only while a loop runs."""
        with torch.inference_mode(False):  # training has to be able to change them later
            while len(self) <= loader:
                self.append(self.make().to(device))
        return self[loader]  # type: ignore[return-value]
