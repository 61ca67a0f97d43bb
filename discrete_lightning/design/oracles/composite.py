"""Oracles made of others, which know more of a sequence than its score."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn


class Composite(nn.Module, ABC):
    """An oracle that measures several columns of a sequence, and makes a value and a doubt of them.

        score = value - doubt where more is better, value + doubt where less is: an optimist is never rewarded

    Called by itself it is one whose score is to be raised. A design problem asks for value and doubt and knows the direction.

    Attributes:
        names: of the columns, in reports.
        signs: +1 where the value rises with a column, -1 where it falls, 0 where a column is no aim of its own.
    """

    names: list[str]
    signs: list[float]

    @abstractmethod
    def components(self, x: Tensor) -> Tensor:
        """Columns (batch, columns) of sequences (batch, letters, length)."""

    @abstractmethod
    def value_and_doubt(self, components: Tensor) -> tuple[Tensor, Tensor]:
        """Value and doubt >= 0, both (batch,), of columns (batch, columns)."""

    def forward(self, x: Tensor) -> Tensor:
        """Scores (batch,), of which more is better."""
        value, doubt = self.value_and_doubt(self.components(x))
        return value - doubt


def one_score_each(scores: Any, oracle: nn.Module, count: int) -> Tensor:
    """What an oracle returned for `count` sequences, as (count,).

    Raises:
        ValueError: if it is no tensor (count,) or (count, 1).

    Example:
        >>> import torch
        >>> one_score_each(torch.zeros(3, 1), nn.Identity(), 3).shape
        torch.Size([3])
    """
    name = type(oracle).__name__
    if not isinstance(scores, Tensor):
        raise ValueError(f"the oracle {name} must return a tensor of one score a sequence, got {type(scores).__name__}")
    if scores.shape == (count, 1):
        scores = scores.squeeze(1)
    if scores.shape != (count,):
        raise ValueError(
            f"the oracle {name} must return one score a sequence, ({count},) or ({count}, 1), for {count} sequences; it "
            f"returned shape {tuple(scores.shape)}. To use one of several outputs wrap it: OneOutput(oracle, index)"
        )
    return scores
