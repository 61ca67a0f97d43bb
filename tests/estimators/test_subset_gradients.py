"""The gradients of subsets, against enumeration and naive versions. Intervals are 5 sigma, for seeds fixed in advance."""

import pytest
import torch
from torch import Tensor

from discrete_lightning.estimators import (
    REBAR,
    Estimator,
    GappedStraightThrough,
    GumbelRao,
    GumbelSoftmax,
    IndeCateR,
    LeaveOneOut,
    ReinMax,
    Softmax,
    StraightThrough,
    StraightThroughGumbel,
)
from discrete_lightning.functional import conditional_gumbel_top_k, gumbel_noise, gumbel_top_k
from discrete_lightning.functional._plackett_luce import inclusion_gradient, trapezoid_gradient
from tests.references import estimators as reference
from tests.references import subsets
from tests.references.goodness_of_fit import uniform_p
from tests.references.inputs import leaf, seeded

LOGITS = torch.tensor([0.5, -1.0, 0.0, 1.2, -0.4])
DRAWS = 60_000


def gradients(estimator: Estimator, k: int, degree: int, tau: float, seed: int, draws: int = DRAWS) -> Tensor:
    logits = leaf(LOGITS.expand(draws, 5))
    estimator.expectation(subsets.polynomial(degree, 5), logits, tau, seeded(seed), k=k).sum().backward()
    return logits.grad.double()


@pytest.mark.parametrize("k", [2, 4])
def test_straight_through_is_exact_on_linear_functions(k: int) -> None:
    exact = subsets.exact_gradient(subsets.polynomial(1, 5), LOGITS, k)
    reference.assert_mean(gradients(StraightThrough(), k, 1, 1.0, 1), exact)


@pytest.mark.parametrize("estimator", [StraightThrough(), StraightThrough(backward_tau=0.7)], ids=repr)
def test_straight_through_is_the_jacobian_of_the_inclusion_probabilities(estimator: StraightThrough) -> None:
    """For any function: the mean slope times the Jacobian of the mean subset at the temperature of the backward pass."""
    tau = 1.6
    forward, backward = (1.0, tau) if estimator.backward_tau is None else (tau, estimator.backward_tau)
    every, function = subsets.orders(5, 3), subsets.polynomial(3, 5)
    g = reference.cotangents(function, subsets.k_hot(every, 5))
    slope = subsets.order_probability(LOGITS / forward, every) @ g
    mean = subsets.exact_gradient(lambda sample: sample @ slope, LOGITS / backward, 3) / backward
    reference.assert_mean(gradients(estimator, 3, 3, tau, 2), mean)


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("k", [2, 4])
def test_reinmax_is_exact_on_quadratic_functions(k: int, degree: int) -> None:
    exact = subsets.exact_gradient(subsets.polynomial(degree, 5), LOGITS, k)
    reference.assert_mean(gradients(ReinMax(), k, degree, 1.0, 3), exact)


def test_the_tests_of_exactness_can_fail() -> None:
    exact = subsets.exact_gradient(subsets.polynomial(2, 5), LOGITS, 2)
    for estimator in (StraightThrough(), StraightThroughGumbel(), GappedStraightThrough()):
        with pytest.raises(AssertionError, match="sigma"):
            reference.assert_mean(gradients(estimator, 2, 2, 1.0, 4), exact)


def test_reinmax_at_another_temperature() -> None:
    """The trapezoid rule there, and half the difference of the Jacobians, all enumerated."""
    tau, every = 1.4, subsets.orders(5, 2)
    g = reference.cotangents(subsets.polynomial(3, 5), subsets.k_hot(every, 5))
    at_one, at_tau = (torch.log_softmax(LOGITS.double() / t, -1) for t in (1.0, tau))
    p = subsets.order_probability(LOGITS, every)

    def rows(log_p: Tensor) -> Tensor:
        return log_p.expand(len(every), -1)

    slope = (p @ g).expand(len(every), -1)
    jacobians = [
        subsets.order_probability(log_p, every) @ inclusion_gradient(rows(log_p), every, slope)
        for log_p in (at_tau, at_one)
    ]
    mean = p @ trapezoid_gradient(rows(at_tau), every, g) + 0.5 * (jacobians[0] - jacobians[1])
    reference.assert_mean(gradients(ReinMax(), 2, 3, tau, 5), mean)


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("estimator", [LeaveOneOut(samples=3), IndeCateR(), REBAR()], ids=repr)
def test_what_is_unbiased(k: int, estimator: Estimator) -> None:
    exact = subsets.exact_gradient(subsets.polynomial(3, 5), LOGITS, k)
    reference.assert_mean(gradients(estimator, k, 3, 1.0, 6, draws=20_000), exact)


@pytest.mark.parametrize("tau", [0.5, 1.0])
@pytest.mark.parametrize("samples", [1, 10])
def test_gumbel_rao_has_the_mean_of_straight_through_gumbel_and_less_variance(samples: int, tau: float) -> None:
    draws = 30_000
    plain = gradients(StraightThroughGumbel(), 2, 3, tau, 7, draws)
    averaged = gradients(GumbelRao(samples), 2, 3, tau, 8, draws)
    error = (plain.mean(0) - averaged.mean(0)).abs()
    assert (error <= 5 * ((plain.var(0) + averaged.var(0)) / draws).sqrt()).all()
    ratio = float(averaged.var(0).sum() / plain.var(0).sum())
    assert 0.85 < ratio < 1.15 if samples == 1 else ratio < 0.9


def test_conditional_noise_is_the_noise_given_the_order() -> None:
    """Averaged over orders it is the noise itself: standard Gumbel, category by category."""
    log_p = torch.log_softmax(LOGITS, -1).expand(20_000, 5)
    order = gumbel_top_k(log_p, 3, generator=seeded(9))
    z = conditional_gumbel_top_k(log_p, order, generator=seeded(10))
    assert torch.equal(z.topk(3).indices, order)
    for noise in (z - log_p).double().unbind(-1):
        assert uniform_p(torch.exp(-torch.exp(-noise))) > 1e-4


@pytest.mark.parametrize("estimator", [GumbelSoftmax(), StraightThroughGumbel(), Softmax()], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_relaxed_samples_and_gradients_given_the_noise(estimator: Estimator, dtype: torch.dtype, tau: float) -> None:
    logits, temperature = leaf(torch.randn(20, 6, generator=seeded(11)), dtype), leaf(tau, torch.float64)
    g = torch.randn(20, 6, generator=seeded(12)).to(dtype)
    sample = estimator.subset(logits, 3, temperature, seeded(13))
    sample.backward(g)
    noise = gumbel_noise(logits.shape, generator=seeded(13)) if estimator != Softmax() else torch.zeros(20, 6)
    x, t = leaf(logits.detach() + noise.double(), torch.float64), leaf(tau, torch.float64)
    soft = subsets.relaxed_top_k(x, 3, t)
    soft.backward(g.double())
    value = soft if estimator != StraightThroughGumbel() else torch.zeros_like(x).scatter(-1, x.topk(3).indices, 1.0)
    rounding = {torch.float64: 1e-4, torch.float32: 1e-3, torch.bfloat16: 2e-2}[dtype]  # 1 - p is bounded by 1e-6
    torch.testing.assert_close(sample.double(), value, rtol=rounding, atol=rounding)
    torch.testing.assert_close(logits.grad.double(), x.grad, rtol=rounding, atol=rounding)
    torch.testing.assert_close(temperature.grad, t.grad, rtol=2 * rounding, atol=2 * rounding)


@pytest.mark.parametrize("gap", [0.0, 1.0])
@pytest.mark.parametrize("tau", [0.5, 1.5])
def test_gapped_given_the_subset(gap: float, tau: float) -> None:
    logits, temperature = leaf(torch.randn(50, 6, generator=seeded(14))), leaf(tau)
    g = torch.randn(50, 6, generator=seeded(15))
    sample = GappedStraightThrough(gap).subset(logits, 3, temperature, seeded(16))
    sample.backward(g)
    x, t = logits.detach().double(), leaf(tau, torch.float64)
    third = x.sort(descending=True).values[:, 2:3]
    led = torch.where(sample.detach() > 0, torch.maximum(x, third), torch.minimum(x, third - gap)).requires_grad_()
    subsets.relaxed_top_k(led, 3, t).backward(g.double())
    torch.testing.assert_close(logits.grad.double(), led.grad, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(temperature.grad.double(), t.grad, rtol=1e-3, atol=1e-3)


def test_a_learned_temperature_of_straight_through() -> None:
    """d/dtau of the inclusion probabilities, in the mean."""
    slopes, cost, generator = [], torch.tensor([1.0, -2.0, 0.5, 3.0, 1.5]), seeded(17)
    for _ in range(150):
        tau = leaf(0.8)
        (StraightThrough().subset(LOGITS.expand(200, 5), 2, tau, generator) @ cost).mean().backward()
        slopes.append(tau.grad)
    t, every = leaf(0.8, torch.float64), subsets.orders(5, 2)
    mean = (subsets.order_probability(LOGITS / t, every) * (subsets.k_hot(every, 5) @ cost.double())).sum()
    mean.backward()
    reference.assert_mean(torch.stack(slopes).unsqueeze(1), t.grad)
