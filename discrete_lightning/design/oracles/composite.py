"""Oracles that return several columns for a sequence, from which its score and the uncertainty of the score follow."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from discrete_lightning.design.oracles.function import name_of
from discrete_lightning.design.oracles.one_output import OneOutput, described
from discrete_lightning.layers.recorded import Recorded


class Composite(Recorded, nn.Module, ABC):
    """An oracle that measures several columns of a sequence and computes a value and an uncertainty from them.

        score = value - uncertainty    where a higher score is better (Maximize); value + uncertainty under Minimize

    So the score is lowered (raised under Minimize) by the uncertainty. `forward` assumes that a higher score is better. A
    DesignProblem calls `value_and_uncertainty` instead and applies `Goal.pessimistic`.

    Attributes:
        names: of the columns, used in reports.
        signs: for each column +1 if the value rises with it, -1 if the value falls with it, 0 if it is not an objective.
    """

    names: list[str]
    signs: list[float]

    @abstractmethod
    def components(self, x: Tensor) -> Tensor:
        """Columns (batch, columns) of sequences (batch, letters, length)."""

    @abstractmethod
    def value_and_uncertainty(self, components: Tensor) -> tuple[Tensor, Tensor]:
        """The value and the uncertainty (>= 0), both (batch,), of columns (batch, columns)."""

    def forward(self, x: Tensor) -> Tensor:
        """Scores (batch,); a higher score is better."""
        value, uncertainty = self.value_and_uncertainty(self.components(x))
        return value - uncertainty


def one_score_each(scores: Any, oracle: nn.Module, count: int) -> Tensor:
    """What an oracle returned for `count` sequences, as (count,).

    Raises:
        ValueError: it is not a tensor of shape (count,) or (count, 1).

    Example:
        >>> import torch
        >>> one_score_each(torch.zeros(3, 1), nn.Identity(), 3).shape
        torch.Size([3])
    """
    name, index = name_of(oracle), "INDEX or NAME"
    if isinstance(oracle, OneOutput):
        name = f"{name_of(oracle.oracle)}, output {oracle.index!r},"
        index = f"[{oracle.index!r}, INDEX or NAME]"
    several = isinstance(scores, Mapping | tuple) or (isinstance(scores, Tensor) and scores.ndim == 2)
    cure = (
        f"choose one of several by output={index}, or elsewhere by OneOutput(oracle, {index})"
        if several
        else "make one score of each sequence in a function, such as lambda x: model(x).mean(-1)"
    )
    if not isinstance(scores, Tensor):
        raise ValueError(
            f"the oracle {name} must return a tensor of one score a sequence, got {described(scores)}: {cure}"
        )
    if scores.shape == (count, 1):
        scores = scores.squeeze(1)
    if scores.shape != (count,):
        raise ValueError(
            f"the oracle {name} must return one score a sequence, ({count},) or ({count}, 1), for {count} sequences; it "
            f"returned {described(scores)}: {cure}"
        )
    return scores
