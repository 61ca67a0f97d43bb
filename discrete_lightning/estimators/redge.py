"""ReDGE: the gradient of a diffusion model of one-hot vectors (Gourevitch et al. 2026, https://arxiv.org/abs/2601.00781)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from discrete_lightning.estimators.base import Estimator
from discrete_lightning.functional import redge


@dataclass(frozen=True)
class ReDGE(Estimator):
    """Forward D ~ Categorical(softmax(logits)); backward a path of DDIM's steps that ends in a noisy D.

    `tau` is the ratio of noise to signal at the last step: the paper's t_1 = 1/2 is tau = 1. Straight-through is
    the limit of a large tau.

    Args:
        steps: of DDIM, >= 1.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> ReDGE()(torch.zeros(5)).sum()
        tensor(1.)
    """

    steps: int = 2
    hard: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"ReDGE: steps must be at least 1, got {self.steps}")

    def __call__(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        return redge(logits, tau, steps=self.steps, generator=generator)
