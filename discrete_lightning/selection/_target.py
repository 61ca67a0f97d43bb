"""What a network of a table predicts, with its loss: classes or numbers."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Target:
    """Targets in the form of the network's outputs.

    Attributes:
        values: (n, C) float32: numbers of mean 0 and variance 1, one column of 0 and 1 for two classes, one-hot rows
            for more.
        classes: whether they are classes.
        scale: standard deviation of what a constant leaves unexplained, about .5 for two equal classes and 1 for
            numbers.
        curvature: bound on the second derivative of the loss in the outputs.
    """

    values: Tensor
    classes: bool
    scale: float
    curvature: float

    def residual(self, outputs: Tensor) -> Tensor:
        """Derivative of the loss in the outputs (..., n, C)."""
        if not self.classes:
            return outputs - self.values
        one = self.values.shape[1] == 1
        return (torch.sigmoid(outputs) if one else outputs.softmax(dim=-1)) - self.values

    def loss(self, outputs: Tensor) -> Tensor:
        """Loss (..., n) of each row."""
        if not self.classes:
            return (outputs - self.values).square().sum(dim=-1) / 2
        if self.values.shape[1] == 1:
            return (functional.softplus(outputs) - self.values * outputs).squeeze(-1)
        return outputs.logsumexp(dim=-1) - (self.values * outputs).sum(dim=-1)


def class_target(y: Tensor) -> Target:
    """Target of labels (n,): any integers or bools, two different ones or more."""
    labels, index = y.cpu().unique(return_inverse=True)
    if len(labels) < 2:
        raise ValueError(
            f"classification needs two classes or more, and every row of y has the label {labels.tolist()}"
        )
    one_hot = functional.one_hot(index, len(labels)).float()
    values = one_hot[:, 1:] if len(labels) == 2 else one_hot
    return Target(values, True, float(values.var(dim=0, correction=0).mean().sqrt()), 0.25 if len(labels) == 2 else 0.5)


def number_target(y: Tensor) -> Target:
    """Target of numbers (n,) or (n, T)."""
    values = y.detach().cpu().double().reshape(len(y), -1)
    std = values.std(dim=0, correction=0)
    if not (std > 0).all():
        raise ValueError("regression needs targets that vary, and a column of y holds one value")
    return Target(((values - values.mean(dim=0)) / std).float(), False, 1.0, 1.0)
