"""SIMPLE against enumeration: exact given the draw, so most comparisons need no interval."""

import math

import pytest
import torch
from torch import Tensor

from discrete_lightning.estimators import SIMPLE, Estimator, StraightThrough
from discrete_lightning.functional import conditional_bernoulli, log_probability, simple_subset, subset_marginals
from discrete_lightning.nn import RelaxedSubset
from tests.references import estimators as reference
from tests.references import subsets
from tests.references.goodness_of_fit import chi_square_p
from tests.references.inputs import leaf, seeded

LOGITS = torch.tensor([0.5, -1.0, 0.0, 1.2, -0.4])
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
each_k = pytest.mark.parametrize("k", [2, 3, 4])


def probabilities(row: Tensor, k: int) -> Tensor:
    return subsets.conditional_bernoulli_log_probability(row, subsets.subsets(len(row), k)).exp()


def exact_gradient(degree: int, k: int) -> Tensor:
    """d/dlogits of E[f(S)], f a polynomial, by enumerating every subset."""
    x, every = leaf(LOGITS, torch.float64), subsets.subsets(5, k)
    return torch.autograd.grad((probabilities(x, k) * subsets.polynomial(degree, 5)(every)).sum(), x)[0]


def gradients(degree: int, k: int, tau: float, draws: int) -> tuple[Tensor, Tensor]:
    """Of each draw, with the draws."""
    logits, seen = leaf(LOGITS.expand(draws, 5), torch.float64), []

    def function(sample: Tensor) -> Tensor:
        seen.append(sample.detach())
        return subsets.polynomial(degree, 5)(sample)

    SIMPLE().expectation(function, logits, tau, seeded(1), k=k).sum().backward()
    return logits.grad, seen[0]


@each_k
def test_it_is_exact_on_linear_functions_for_each_draw(k: int) -> None:
    got, sample = gradients(1, k, 1.0, 50)
    assert len(sample.unique(dim=0)) > 3
    torch.testing.assert_close(got, exact_gradient(1, k).expand_as(got), rtol=1e-11, atol=1e-12)


@each_k
def test_its_bias_on_other_functions_is_that_of_the_marginals(k: int) -> None:
    """Mean gradient: the Jacobian of the marginals at logits / tau times the mean slope."""
    tau, every = 1.6, subsets.subsets(5, k)
    slope = probabilities(LOGITS, k) @ reference.cotangents(subsets.polynomial(3, 5), every)
    x = leaf(LOGITS, torch.float64)
    (mean,) = torch.autograd.grad(probabilities(x / tau, k) @ every @ slope, x)
    got, sample = gradients(3, k, tau, 20_000)
    reference.assert_mean(got, mean)
    assert chi_square_p(subsets.counts(sample, k), probabilities(LOGITS, k)) > 1e-4


def test_the_test_of_exactness_can_fail() -> None:
    with pytest.raises(AssertionError, match="sigma"):
        reference.assert_mean(gradients(2, 2, 1.0, 20_000)[0], exact_gradient(2, 2))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("tau", [0.3, 1.0, 2.0])
def test_the_backward_pass_is_that_of_the_marginals(dtype: torch.dtype, tau: float) -> None:
    """To the logits and to a temperature of each row."""
    raw, taus = torch.randn(6, 20, generator=seeded(2)).to(dtype), torch.linspace(1.0, 3.0, 6).unsqueeze(1) * tau
    g = torch.randn(6, 20, generator=seeded(3)).to(dtype)
    logits, temperature = leaf(raw, dtype), leaf(taus)
    sample = simple_subset(logits, 4, temperature, generator=seeded(4))
    assert sample.dtype == dtype
    sample.backward(g)
    x, t = leaf(raw, torch.float64), leaf(taus, torch.float64)
    subset_marginals(x / t, 4).backward(g.double())
    rounding = {torch.bfloat16: 1e-2, torch.float16: 1e-3}.get(dtype, 1e-5)
    torch.testing.assert_close(logits.grad.double(), x.grad, rtol=rounding, atol=1e-5)
    torch.testing.assert_close(temperature.grad.double(), t.grad, rtol=1e-4, atol=1e-5)


def test_a_number_and_a_tensor_as_temperature() -> None:
    results = []
    for tau in (1.0, torch.tensor(1.0), torch.ones(6, 1)):
        logits = leaf(torch.randn(6, 7, generator=seeded(5)))
        sample = simple_subset(logits, 3, tau, generator=seeded(6))
        sample.square().cumsum(-1).sum().backward()
        results.append((sample.detach(), logits.grad))
    for sample, gradient in results[1:]:
        assert torch.equal(sample, results[0][0])
        torch.testing.assert_close(gradient, results[0][1])


def test_the_draw_is_that_of_the_distribution() -> None:
    logits = torch.randn(40, 9, generator=seeded(7))
    sample = SIMPLE().subset(logits, 4, 0.3, seeded(8))
    assert torch.equal(sample, conditional_bernoulli(logits, 4, generator=seeded(8)))


@pytest.mark.parametrize("binary", [False, True])
def test_one_of_them_is_straight_through(binary: bool) -> None:
    results = []
    for estimator in (SIMPLE(), StraightThrough()):
        logits = leaf(torch.randn(30, 5, generator=seeded(9)))
        draw = estimator.bernoulli if binary else estimator
        sample = draw(logits, 0.6, seeded(10))
        sample.backward(torch.randn(30, 5, generator=seeded(11)))
        results.append((sample.detach(), logits.grad))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@pytest.mark.parametrize("estimator", [SIMPLE(), StraightThrough()], ids=repr)
def test_its_distribution_has_a_name(estimator: Estimator) -> None:
    """What log_probability and a layer's draws in eval() go by."""
    every = subsets.subsets(5, 2)
    exact = subsets.LOG_PROBABILITY[estimator.subsets](LOGITS, every)
    got = log_probability(LOGITS, every, k=2, subsets=estimator.subsets)
    torch.testing.assert_close(got.double(), exact, rtol=0, atol=3e-5)
    torch.manual_seed(12)
    draws = RelaxedSubset(2, estimator, evaluation="draw").eval()(LOGITS.expand(30_000, 5))
    assert chi_square_p(subsets.counts(draws, 2), exact.exp()) > 1e-4
    other = {"plackett_luce": "conditional_bernoulli", "conditional_bernoulli": "plackett_luce"}[estimator.subsets]
    assert chi_square_p(subsets.counts(draws, 2), subsets.LOG_PROBABILITY[other](LOGITS, every).exp()) < 1e-4


@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_many_categories(scale: float) -> None:
    """float32 against float64 at the same upstream gradient."""
    raw, g = scale * torch.randn(3, 784, generator=seeded(13)), torch.randn(3, 784, generator=seeded(14)) + 100
    results = []
    for dtype in (torch.float32, torch.float64):
        logits = leaf(raw, dtype)
        sample = simple_subset(logits, 50, 0.7, generator=seeded(15))
        assert (sample.sum(-1) == 50).all()
        sample.backward(g.to(dtype))
        results.append(logits.grad.double())
    assert results[0].isfinite().all()
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)  # g of 100 has no more


def test_masks() -> None:
    logits = leaf(torch.tensor([[0.3, -math.inf, 2.0, -1.0], [-math.inf, 1.0, -math.inf, 0.0]]).expand(50, 2, 4))
    sample = simple_subset(logits, 2, 0.5, generator=seeded(16))
    (sample * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    masked = logits.detach().isneginf()
    assert not sample[masked].any()
    assert logits.grad.isfinite().all()
    assert not logits.grad[masked].any()
    assert not logits.grad[:, 1].any()  # two of two
    assert logits.grad[:, 0].any()
