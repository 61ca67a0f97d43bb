"""What a score should be: as high as possible, as low as possible, or near a target."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import torch
from torch import Tensor


class Goal(ABC):
    """Maps an oracle's scores to losses: lower is better.

    Attributes:
        sign: +1 if a higher score is always better, -1 if a lower score is always better, 0 if that depends on the score.
    """

    sign: ClassVar[float] = 0.0

    @abstractmethod
    def loss(self, scores: Tensor) -> Tensor:
        """Losses of scores, elementwise."""

    def pessimistic(self, scores: Tensor, uncertainty: Tensor) -> Tensor:
        """The worse of scores - uncertainty and scores + uncertainty (uncertainty >= 0), elementwise.

        This is the lower confidence bound under Maximize and the upper confidence bound under Minimize.

        Example:
            >>> score, uncertainty = torch.tensor([1.0, 3.0]), torch.tensor([0.5, 0.5])
            >>> Maximize().pessimistic(score, uncertainty), Minimize().pessimistic(score, uncertainty)
            (tensor([0.5000, 2.5000]), tensor([1.5000, 3.5000]))
            >>> Target(2.0).pessimistic(score, uncertainty)
            tensor([0.5000, 3.5000])
        """
        low, high = scores - uncertainty, scores + uncertainty
        return torch.where(self.loss(low) >= self.loss(high), low, high)


@dataclass(frozen=True)
class Maximize(Goal):
    """loss = -score."""

    sign: ClassVar[float] = 1.0

    def loss(self, scores: Tensor) -> Tensor:
        return -scores


@dataclass(frozen=True)
class Minimize(Goal):
    """loss = score."""

    sign: ClassVar[float] = -1.0

    def loss(self, scores: Tensor) -> Tensor:
        return scores


@dataclass(frozen=True)
class Target(Goal):
    """loss = (score - value)^2.

    Args:
        value: finite.

    Example:
        >>> Target(2.0).loss(torch.tensor([1.0, 2.0]))
        tensor([1., 0.])
    """

    value: float

    def __post_init__(self) -> None:
        if not isinstance(self.value, Real) or not math.isfinite(self.value):
            raise ValueError(f"Target: value must be a finite number, got {self.value}")

    def loss(self, scores: Tensor) -> Tensor:
        return (scores - self.value).square()
