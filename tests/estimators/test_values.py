"""Samples and gradients, draw by draw, against float64 references."""

import pytest
import torch
from torch import Tensor

from discrete_lightning.estimators import (
    Estimator,
    GappedStraightThrough,
    GumbelSoftmax,
    ReinMax,
    Softmax,
    StraightThrough,
    StraightThroughGumbel,
)
from discrete_lightning.functional import gumbel_noise, logistic_noise
from tests.references import estimators as reference
from tests.references.every_estimator import DECOUPLED, HARD, SOFT, each_case, each_hard, each_kind, each_pathwise
from tests.references.gumbel import sigmoid_sample, softmax_sample
from tests.references.inputs import leaf, seeded

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
each_half = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 4e-3, torch.float16: 5e-4}
ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}
GIVEN_NOISE = [GumbelSoftmax(), StraightThroughGumbel(), StraightThrough(), Softmax()]
DECIDED = [StraightThrough(), DECOUPLED, ReinMax(), GappedStraightThrough(), GappedStraightThrough(gap=0.0)]
each_decided = pytest.mark.parametrize("estimator", DECIDED, ids=repr)


def draw(estimator: Estimator, binary: bool, logits: Tensor, tau: float | Tensor, seed: int | None = None) -> Tensor:
    generator = None if seed is None else seeded(seed)
    return (estimator.bernoulli if binary else estimator)(logits, tau, generator)


def oracle(
    estimator: Estimator, binary: bool, logits: Tensor, tau: float, seed: int, cotangent: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Value, gradient to the logits and to tau, given the noise where they depend on it."""
    noise = (logistic_noise if binary else gumbel_noise)(logits.shape, generator=seeded(seed))
    perturbed = logits.double() + noise
    relaxed = sigmoid_sample if binary else softmax_sample
    backward = logits if isinstance(estimator, StraightThrough | Softmax) else perturbed
    value, to_logits, to_tau = relaxed(backward, tau, cotangent)
    if isinstance(estimator, StraightThroughGumbel):
        one_hot = torch.nn.functional.one_hot(perturbed.argmax(-1), logits.shape[-1])
        value = ((perturbed > 0) if binary else one_hot).double()
    return value, to_logits, to_tau


@pytest.mark.parametrize("estimator", GIVEN_NOISE, ids=repr)
@each_kind
@each_dtype
@pytest.mark.parametrize("tau", [0.1, 1.0, 3.0])
def test_value_and_gradients(estimator: Estimator, binary: bool, dtype: torch.dtype, tau: float) -> None:
    logits, temperature = leaf(torch.randn(3, 4, 5, generator=seeded(1)), dtype), leaf(tau)
    cotangent = torch.randn(3, 4, 5, generator=seeded(2)).to(dtype)
    sample = draw(estimator, binary, logits, temperature, seed=3)
    sample.backward(cotangent)
    value, to_logits, to_tau = oracle(estimator, binary, logits.detach(), temperature.item(), 3, cotangent)
    tolerance = TOLERANCE[dtype]
    assert (sample.shape, sample.dtype) == (logits.shape, dtype)
    if isinstance(estimator, StraightThrough):  # draws as it likes: see test_distributions.py
        value = torch.nn.functional.one_hot(sample.argmax(-1), 5).double() if not binary else (sample > 0.5).double()
    torch.testing.assert_close(sample.double(), value, rtol=0, atol=0 if estimator in HARD else tolerance)
    torch.testing.assert_close(logits.grad.double(), to_logits, rtol=tolerance, atol=10 * tolerance / tau)
    torch.testing.assert_close(temperature.grad.double(), to_tau, rtol=1e-3, atol=1e-4 / tau**2)


@each_decided
@each_dtype
@pytest.mark.parametrize("tau", [0.3, 1.0, 1.5])
def test_the_gradient_given_the_sample(estimator: Estimator, tau: float, dtype: torch.dtype) -> None:
    logits = leaf(torch.randn(20, 3, 5, generator=seeded(13)), dtype)
    g = torch.randn(20, 3, 5, generator=seeded(14)).to(dtype)
    sample = estimator(logits, tau, seeded(15))
    assert (sample.shape, sample.dtype) == (logits.shape, dtype)
    sample.backward(g)
    exact = reference.given_the_sample(estimator, logits.detach(), sample.detach(), tau, g)
    torch.testing.assert_close(logits.grad.double(), exact, rtol=ROUNDING[dtype], atol=ROUNDING[dtype] / tau)


@each_decided
@pytest.mark.parametrize("tau", [0.6, 1.0])
def test_the_gradient_given_the_sample_of_a_large_batch(estimator: Estimator, tau: float) -> None:
    """More than fits in any block of rows that is worked on at a time; the last block is not full."""
    logits = leaf(torch.randn(10_001, 70, generator=seeded(54)))
    g = torch.randn(10_001, 70, generator=seeded(55))
    sample = estimator(logits, tau, seeded(56))
    sample.backward(g)
    rows = torch.randint(10_001, (500,), generator=seeded(57))
    rows[:2] = torch.tensor([0, 10_000])
    exact = reference.given_the_sample(estimator, logits.detach()[rows], sample.detach()[rows], tau, g[rows])
    torch.testing.assert_close(logits.grad[rows].double(), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("tau", [0.3, 1.0, 1.5])
def test_the_gradient_of_straight_through_to_tau(tau: float, dtype: torch.dtype) -> None:
    logits, temperature = leaf(torch.randn(20, 5, generator=seeded(16)), dtype), leaf(tau, torch.float64)
    g = torch.randn(20, 5, generator=seeded(17)).to(dtype)
    StraightThrough()(logits, temperature, seeded(18)).backward(g)
    exact = reference.gradient_to_tau(logits.detach(), tau, g)
    assert float(temperature.grad) == pytest.approx(exact, rel=1e-9 if dtype == torch.float64 else 1e-3, abs=1e-4)


@each_hard
@each_kind
@each_dtype
def test_samples_are_exactly_zero_and_one(estimator: Estimator, binary: bool, dtype: torch.dtype) -> None:
    logits = torch.randn(500, 7, generator=seeded(20)).to(dtype)
    draw = estimator.bernoulli if binary else estimator
    sample = draw(logits, 0.3, seeded(21))
    assert (sample.shape, sample.dtype) == (logits.shape, dtype)
    assert sample.unique().tolist() == [0, 1]
    assert binary or (sample.sum(-1) == 1).all()


@pytest.mark.parametrize("estimator", [each for each in HARD if each != DECOUPLED], ids=repr)
@each_kind
@each_dtype
def test_hard_samples_do_not_depend_on_tau(estimator: Estimator, binary: bool, dtype: torch.dtype) -> None:
    logits = torch.randn(500, 7, generator=seeded(4)).to(dtype)
    samples = [draw(estimator, binary, logits, tau, seed=5) for tau in (0.1, 1.0, 50.0)]
    assert samples[0].unique().tolist() == [0, 1]
    assert binary or (samples[0].sum(-1) == 1).all()
    assert torch.equal(samples[0], samples[1])
    assert torch.equal(samples[0], samples[2])


@each_case
@each_half
def test_draws_are_made_in_float32_whatever_the_dtype(estimator: Estimator, binary: bool, dtype: torch.dtype) -> None:
    """Rounding logits / tau to 16 bits would change some of these 80,000 choices."""
    logits, samples = (3 * torch.randn(20_000, 4, generator=seeded(26))).to(dtype), []

    def function(sample: Tensor) -> Tensor:
        samples.append(sample)
        return sample.float().sum(-1)

    for x in (logits, logits.float()):
        estimator.expectation(function, x, 0.9, seeded(27), binary=binary)
    assert torch.equal(samples[0], samples[1].to(dtype))


@each_pathwise
@each_kind
def test_layouts(estimator: Estimator, binary: bool) -> None:
    base = torch.randn(5, 6, 40, generator=seeded(38))
    cost = torch.randn(6, 5, 40, generator=seeded(39)).transpose(0, 1).transpose(1, 2)
    results = []
    for contiguous in (False, True):
        logits = leaf(base.clone()).transpose(1, 2)
        logits = logits.contiguous() if contiguous else logits
        logits.retain_grad()
        assert logits.is_contiguous() == contiguous
        sample = (estimator.bernoulli if binary else estimator)(logits, 0.6, seeded(40))
        (sample * cost).sum(-1).square().sum().backward()
        results.append((sample.detach(), logits.grad))
    (sample, gradient), (other, other_gradient) = results
    torch.testing.assert_close(sample, other, rtol=0, atol=1e-6 if estimator in SOFT else 0.0)
    torch.testing.assert_close(gradient, other_gradient)  # sums over strides are not rounded alike


@each_pathwise
def test_an_expanded_gradient(estimator: Estimator) -> None:
    logits = leaf(torch.randn(5, 6, generator=seeded(41)))
    sample = estimator(logits, 0.6, seeded(42))
    sample.sum().backward()  # the one sum that no choice changes
    torch.testing.assert_close(logits.grad, torch.zeros(5, 6), rtol=0, atol=1e-5)


@each_hard
def test_a_sample_may_be_changed_in_place(estimator: Estimator) -> None:
    logits, gradients = torch.randn(20, 3, generator=seeded(45)), []
    for in_place in (False, True):
        x = leaf(logits)
        sample = estimator(x, 0.5, seeded(46))
        sample = sample.mul_(torch.arange(3.0)) if in_place else sample * torch.arange(3.0)
        sample.sum(-1).square().sum().backward()
        gradients.append(x.grad)
    assert torch.equal(*gradients)
