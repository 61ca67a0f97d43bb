"""What a judge is here: rows of its own table in, a score out, nothing in it learns."""

from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor, nn

from discrete_lightning.functional._precision import without_autocast
from discrete_lightning.layers.recorded import Recorded


class Judge(Recorded, nn.Module, ABC):
    """Base of the judges: scores of lines that are given as rows of `table`.

    A sampled line is one-hot-like samples (B, T, V); a judge takes its rows, samples @ table, so that `TokenChoice` never
    holds the samples. A judge is always in eval(), and its parameters have no gradient; its scores have one with respect to
    the rows. A subclass sets `vocabulary`, has `table` and `scores`, and calls `freeze` when it is trained.
    """

    vocabulary: int

    @abstractmethod
    def table(self) -> Tensor:
        """The table (V, C) whose rows it takes."""

    @abstractmethod
    def scores(self, rows: Tensor, mask: Tensor) -> Tensor:
        """Scores (B,), the higher the better, float32, of rows (B, T, C) and a mask (B, T), True up to the end of a line."""

    @without_autocast  # in its own precision: the score is what is trained on
    def forward(self, rows: Tensor, mask: Tensor) -> Tensor:
        """Scores (B,) of lines, see `scores`.

        Raises:
            ValueError: if the shapes do not fit, or a line is empty.
        """
        width = self.table().shape[1]
        if rows.ndim != 3 or rows.shape[2] != width or mask.shape != rows.shape[:2]:
            raise ValueError(
                f"{type(self).__name__} takes rows (B, T, {width}) of its table and a mask (B, T), got {tuple(rows.shape)} and "
                f"{tuple(mask.shape)}"
            )
        # of a GRU in eval() cuDNN has no backward pass
        with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled and not rows.requires_grad):
            return self.scores(rows, mask)

    def score_tokens(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Scores (B,) of tokens (B, T)."""
        mask = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
        return self(nn.functional.embedding(tokens, self.table()) * mask.unsqueeze(-1), mask)

    def freeze(self) -> Self:
        """No parameter learns from now on, and dropout is off."""
        self.requires_grad_(False)
        return super().train(False)

    def train(self, mode: bool = True) -> Self:
        """Without effect: a judge stays in eval()."""
        return super().train(False)
