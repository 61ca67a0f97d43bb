"""Contracted ReinMax, our own: draws moved towards their mean; derivation in `functional/contracted_reinmax.py`."""

from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.estimators.base import Estimator
from discrete_lightning.functional import contracted_reinmax, contracted_reinmax_subset


@dataclass(frozen=True)
class ContractedReinMax(Estimator):
    """Draws moved towards their mean: forward z = D + w (p - D), D ~ Categorical(p), w = tau / (2 (1 + tau)).

    Backward (1 - a) J(p) g + a (D - p) ((D - p) . g) with a = 1 / (2 (1 - w)): at every tau the mean is the exact gradient of
    the discrete expectation for quadratic functions, as that of `ReinMax`, which is its limit tau -> 0. With many latents a
    gradient has less noise from the draws of the others. The function sees samples that are not quite one-hot: anneal tau
    towards 0 (from 1.5 to 0.1, say). `subset` has the same property for k of K.

    Example:
        >>> ContractedReinMax()(torch.zeros(5)).sum()
        tensor(1.)
    """

    def __call__(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        return contracted_reinmax(logits, tau, generator=generator)

    def _subset(self, logits: Tensor, k: int, tau: float | Tensor, generator: torch.Generator | None) -> Tensor:
        return contracted_reinmax_subset(logits, k, tau, generator=generator)
