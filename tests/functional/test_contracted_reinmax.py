"""Contracted ReinMax against its formula in float64, and its mean against enumeration (5 sigma, seeds fixed)."""

import itertools

import pytest
import torch
from torch import Tensor

from discrete_lightning.estimators import ContractedReinMax, ReinMax
from discrete_lightning.functional import contracted_reinmax, contracted_reinmax_subset, reinmax
from tests.references import estimators as reference
from tests.references.inputs import leaf, seeded

ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}
ROWS = torch.tensor([[0.5, -1.0, 0.0], [1.0, 0.2, -0.5]])
SQUARE = torch.randn(6, 6, generator=seeded(90), dtype=torch.float64)
LINEAR = torch.randn(6, generator=seeded(91), dtype=torch.float64)


def quadratic(sample: Tensor) -> Tensor:
    """Of all latents together: (..., 2, 3) -> (...)."""
    x = sample.flatten(-2)
    return x @ LINEAR.to(x.dtype) + ((x @ SQUARE.to(x.dtype)) * x).sum(-1)


@pytest.mark.parametrize("dtype", list(ROUNDING), ids=str)
@pytest.mark.parametrize("tau", [1e-3, 0.5, 1.0, 1e6])
def test_sample_and_gradients(tau: float, dtype: torch.dtype) -> None:
    logits = leaf(torch.randn(20, 3, 5, generator=seeded(1)), dtype)
    g = torch.randn(20, 3, 5, generator=seeded(2)).to(dtype)
    temperature = leaf(tau, torch.float64)
    sample = contracted_reinmax(logits, temperature, generator=seeded(3))
    sample.backward(g)
    p = logits.detach().double().softmax(-1)
    drawn = torch.nn.functional.one_hot(sample.detach().argmax(-1), 5).double()
    w, wide = tau / (2 * (1 + tau)), g.double()
    a = 1 / (2 * (1 - w))
    c = drawn - p
    exact = (1 - a) * reference.jacobian_product(p, wide) + a * c * (c * wide).sum(-1, keepdim=True)
    rounding = ROUNDING[dtype]
    torch.testing.assert_close(sample.detach().double(), drawn - w * c, rtol=rounding, atol=rounding)
    torch.testing.assert_close(logits.grad.double(), exact, rtol=rounding, atol=rounding)
    to_tau = -(c * wide).sum() / (2 * (1 + tau) ** 2)
    torch.testing.assert_close(temperature.grad, to_tau, rtol=1e-4 if dtype != torch.float64 else 1e-9, atol=1e-12)


def test_its_limit_is_reinmax() -> None:
    results = []
    for draw, tau in ((contracted_reinmax, 1e-30), (reinmax, 1.0)):
        logits = leaf(torch.randn(50, 4, generator=seeded(4)))
        sample = draw(logits, tau, generator=seeded(5))
        sample.backward(torch.randn(50, 4, generator=seeded(6)))
        results.append((sample.detach(), logits.grad))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("tau", [0.1, 1.0, 1e5])
def test_the_mean_is_exact_for_quadratic_functions_at_every_temperature(tau: float) -> None:
    exact = reference.exact_gradient(quadratic, ROWS)
    draws = leaf(ROWS.expand(200_000, 2, 3))
    quadratic(contracted_reinmax(draws, tau, generator=seeded(7))).sum().backward()
    reference.assert_mean(draws.grad, exact)


@pytest.mark.parametrize("tau", [0.1, 1.0, 1e5])
def test_the_mean_is_exact_for_quadratic_functions_of_bits(tau: float) -> None:
    odds = torch.tensor([0.5, -1.0, 1.5])

    def function(bits: Tensor) -> Tensor:
        return ((bits @ SQUARE[:3, :3].to(bits.dtype)) * bits).sum(-1)

    exact = reference.exact_gradient(function, odds, binary=True)
    draws = leaf(odds.expand(200_000, 3))
    function(ContractedReinMax().bernoulli(draws, tau, seeded(8))).sum().backward()
    reference.assert_mean(draws.grad, exact)


@pytest.mark.parametrize("tau", [0.1, 1.0, 1e5])
def test_the_mean_is_exact_for_quadratic_functions_of_subsets(tau: float) -> None:
    logits = torch.tensor([0.5, -1.0, 0.0, 1.0, -0.3])
    matrix = torch.randn(5, 5, generator=seeded(92), dtype=torch.float64)

    def function(sample: Tensor) -> Tensor:
        return ((sample @ matrix.to(sample.dtype)) * sample).sum(-1)

    x = logits.double().requires_grad_()
    total = x.new_zeros(())
    for first, second in itertools.permutations(range(5), 2):
        weights = x.exp()
        p = weights[first] / weights.sum() * weights[second] / (weights.sum() - weights[first])
        total = total + p * function(torch.eye(5, dtype=torch.float64)[[first, second]].sum(0))
    exact = torch.autograd.grad(total, x)[0]
    draws = leaf(logits.expand(400_000, 5))
    function(contracted_reinmax_subset(draws, 2, tau, generator=seeded(9))).sum().backward()
    reference.assert_mean(draws.grad, exact)


def test_the_tests_of_exactness_can_fail() -> None:
    """With ReinMax's gradient at the contracted sample the mean is far outside the interval."""
    draws = leaf(ROWS.expand(200_000, 2, 3))
    with torch.no_grad():
        moved = contracted_reinmax(draws, 1.0, generator=seeded(7))
    hard = reinmax(draws, generator=seeded(7))
    quadratic(hard + (moved - hard).detach()).sum().backward()
    with pytest.raises(AssertionError, match="sigma"):
        reference.assert_mean(draws.grad, reference.exact_gradient(quadratic, ROWS))


def test_many_latents_add_less_noise_to_one_another() -> None:
    """Curvature between 20 latents, no slope at the mean: the variance falls as samples contract (seen: to 0.84 and 0.69)."""
    matrix = torch.randn(60, 60, generator=seeded(93)) / 8
    logits = torch.randn(20, 3, generator=seeded(94))
    p, variances = logits.softmax(-1).flatten(), []
    for estimator, tau in ((ReinMax(), 1.0), (ContractedReinMax(), 0.3), (ContractedReinMax(), 1.0)):
        draws = leaf(logits.expand(20_000, 20, 3))
        x = estimator(draws, tau, seeded(10)).flatten(1) - p
        ((x @ matrix) * x).sum().backward()
        variances.append(float(draws.grad.var(0).sum()))
    assert variances[1] < 0.9 * variances[0]
    assert variances[2] < 0.75 * variances[0]
