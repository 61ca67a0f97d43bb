"""What is predicted from columns: classes, numbers, several of them, or the columns themselves; losses of a row."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class Targets:
    """Targets of n rows, encoded for a network.

    Attributes:
        values: int64 (n, T), or float32 (n, T) standardised numbers.
        classes: numbers of classes of each of T targets; empty for numbers.
    """

    values: Tensor
    classes: tuple[int, ...]

    @property
    def outputs(self) -> int:
        """Numbers that a network has to give."""
        return sum(self.classes) if self.classes else self.values.shape[1]

    def losses(self, outputs: Tensor, values: Tensor) -> Tensor:
        """The loss of each row: 1 in the mean for what knows the shares of the classes, or the mean, alone.

        Args:
            outputs: (..., B, outputs).
            values: (B, T), or of the shape (..., B, T).

        Returns:
            float32 (..., B): the mean over T of cross-entropy / entropy, or of squared error / variance.
        """
        if not self.classes:
            return (outputs.float() - values).square().mean(-1)
        parts = []
        for t, (part, entropy) in enumerate(zip(outputs.split(self.classes, -1), self._entropies, strict=True)):
            log_p = torch.log_softmax(part.float(), -1)
            label = values[..., t].expand(part.shape[:-1])
            parts.append(-log_p.gather(-1, label.unsqueeze(-1))[..., 0] / entropy)
        return torch.stack(parts).mean(0)

    def centered(self) -> Tensor:
        """Numbers of mean 0, float32 (n, O): an indicator of each class, or the targets."""
        if not self.classes:
            return self.values
        hot = [torch.nn.functional.one_hot(self.values[:, t], count).float() for t, count in enumerate(self.classes)]
        table = torch.cat(hot, 1)
        return table - table.mean(0)

    @cached_property
    def _entropies(self) -> list[float]:
        """Of the shares of the classes of each target, at least 0.1; once, since each step needs them."""
        counts = [torch.bincount(self.values[:, t], minlength=count).double() for t, count in enumerate(self.classes)]
        return [max(0.1, float(torch.special.entr(each / each.sum()).sum())) for each in counts]

    def columns(self) -> Tensor:
        """As `centered`, of variance 1; of two classes one indicator is enough."""
        if not self.classes:
            return self.values
        parts = self.centered().split(self.classes, 1)
        table = torch.cat([each[:, 1:] if each.shape[1] == 2 else each for each in parts], 1)
        return table / table.std(0, unbiased=False).clamp_min(1e-6)


def class_targets(labels: Tensor) -> Targets:
    """Targets from labels, int64 (n,) or (n, T), each from 0 to its number of classes."""
    labels = labels.unsqueeze(1) if labels.ndim == 1 else labels
    return Targets(labels, tuple(int(each.max()) + 1 for each in labels.T))


def number_targets(values: Tensor) -> Targets:
    """Targets from numbers (n,) or (n, T), which are standardised; those that do not vary are 0."""
    values = (values.unsqueeze(1) if values.ndim == 1 else values).double()
    spread = values.std(0, unbiased=False)
    scaled = (values - values.mean(0)) / torch.where(spread > 0, spread, 1.0)
    return Targets(scaled.float(), ())
