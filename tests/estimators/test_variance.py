"""How the variance of the relaxed gradient grows as the temperature falls."""

import numpy as np
import torch

from discrete_lightning.estimators import GumbelSoftmax
from tests.references.inputs import seeded


def fitted_slope(seed: int) -> float:
    """Of log variance against log tau, between tau = 0.3 and 1, for a random linear function of one choice of 5."""
    logits, cost = torch.randn(2, 5, generator=seeded(seed))
    temperatures, variances = np.geomspace(0.3, 1.0, 5), []
    for tau in temperatures:
        leaf = logits.expand(50_000, 5).clone().requires_grad_()
        (GumbelSoftmax()(leaf, float(tau), seeded(2)) @ cost).sum().backward()
        assert leaf.grad is not None
        variances.append(leaf.grad.var(0).sum().item())
    return float(np.polyfit(np.log(temperatures), np.log(variances), 1)[0])


def test_relaxed_variance_grows_like_the_inverse_square_of_tau() -> None:
    """In the range in which it is used; below it the growth slows to 1 / tau (tests/estimators/test_estimators.py)."""
    slopes = [fitted_slope(seed) for seed in range(6)]
    assert -2.3 < np.mean(slopes) < -1.7
