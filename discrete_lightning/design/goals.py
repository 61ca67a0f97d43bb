"""What a score should be: as high as possible, as low as possible, or near a target."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor


class Goal(ABC):
    """Maps an oracle's scores to losses: lower is better."""

    @abstractmethod
    def loss(self, scores: Tensor) -> Tensor:
        """Losses of scores, elementwise."""


@dataclass(frozen=True)
class Maximize(Goal):
    """loss = -score."""

    def loss(self, scores: Tensor) -> Tensor:
        return -scores


@dataclass(frozen=True)
class Minimize(Goal):
    """loss = score."""

    def loss(self, scores: Tensor) -> Tensor:
        return scores


@dataclass(frozen=True)
class Target(Goal):
    """loss = (score - value)^2.

    Example:
        >>> import torch
        >>> Target(2.0).loss(torch.tensor([1.0, 2.0]))
        tensor([1., 0.])
    """

    value: float

    def loss(self, scores: Tensor) -> Tensor:
        return (scores - self.value).square()
