"""The mean and variance of the relaxed gradient, and how the variance grows as the temperature falls."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from discrete_lightning.estimators import GumbelSoftmax
from tests.references.every_estimator import each_kind
from tests.references.gumbel import relaxed_bernoulli_gradient_moments
from tests.references.inputs import leaf, seeded


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
    """In the range in which it is used; below it the growth slows to 1 / tau (see the next test)."""
    slopes = [fitted_slope(seed) for seed in range(6)]
    assert -2.3 < np.mean(slopes) < -1.7


@pytest.mark.parametrize("categories", [2, 5])
def test_the_variance_of_relaxed_gradients_grows_as_one_over_tau(categories: int) -> None:
    """A gradient of size 1 / tau where the two best are within tau of each other, so with a probability of order tau."""
    taus, cost = [0.1, 0.05, 0.025, 0.0125], torch.randn(categories, generator=seeded(9))
    variances = []
    for tau in taus:
        logits = leaf(torch.zeros(200_000, categories))
        (GumbelSoftmax()(logits, tau, seeded(10)) @ cost).sum().backward()
        variances.append(float(logits.grad.var(0).sum()))
    slope = np.polyfit(np.log(taus), np.log(variances), 1)[0]
    assert -1.15 < slope < -0.9


def relaxed_gradients(tau: float, log_odds: float, binary: bool) -> Tensor:
    """400,000 gradients of one relaxed choice of two to its log-odds."""
    rows = torch.tensor([log_odds] if binary else [log_odds, 0.0], dtype=torch.float64).expand(400_000, -1)
    logits = leaf(rows, torch.float64)
    (GumbelSoftmax().bernoulli if binary else GumbelSoftmax())(logits, tau, seeded(8))[:, 0].sum().backward()
    return logits.grad[:, 0]


@each_kind
@pytest.mark.parametrize("tau", [0.05, 0.2, 1.0])
def test_relaxed_gradients_have_the_mean_and_variance_of_theory(binary: bool, tau: float) -> None:
    gradient = relaxed_gradients(tau, 0.7, binary)
    mean, variance = relaxed_bernoulli_gradient_moments(0.7, tau)
    deviation = gradient - gradient.mean()
    assert abs(gradient.mean() - mean) < 5 * math.sqrt(variance / len(gradient))
    error_of_variance = math.sqrt((deviation.pow(4).mean() - variance**2) / len(gradient))
    assert abs(deviation.square().mean() - variance) < 5 * error_of_variance
