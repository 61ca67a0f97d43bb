"""What every estimator must do. p-values are bounded by 1e-4, intervals are 5 sigma (6e-7), for seeds fixed in advance."""

import copy
import dataclasses
import math
import pickle
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.estimators import (
    DisARM,
    Estimator,
    GappedStraightThrough,
    GumbelRao,
    LeaveOneOut,
    ReinMax,
    StraightThrough,
    StraightThroughGumbel,
)
from discrete_lightning.nn import GumbelQuantizer, RelaxedBernoulli, RelaxedCategorical, use_estimator
from tests.references import estimators as reference
from tests.references.goodness_of_fit import chi_square_p, sigmas
from tests.references.gumbel import probabilities
from tests.references.inputs import leaf, seeded

DECOUPLED = StraightThrough(backward_tau=0.7)
DECIDED = [StraightThrough(), DECOUPLED, ReinMax(), GappedStraightThrough(), GappedStraightThrough(gap=0.0)]
PATHWISE = [StraightThroughGumbel(), GumbelRao(), *DECIDED[:4]]
SCORE = [LeaveOneOut(), LeaveOneOut(samples=5), DisARM()]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}

each = pytest.mark.parametrize("estimator", PATHWISE, ids=repr)
each_of_all = pytest.mark.parametrize("estimator", PATHWISE + SCORE, ids=repr)
each_score = pytest.mark.parametrize("estimator", SCORE, ids=repr)
each_decided = pytest.mark.parametrize("estimator", DECIDED, ids=repr)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
each_half = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
each_kind = pytest.mark.parametrize("binary", [False, True], ids=["categorical", "bernoulli"])
compiles = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles

ROWS = torch.tensor([[0.5, -1.0, 0.0], [1.0, 0.2, -0.5]])  # two latents of three categories
ODDS = torch.tensor([0.5, -1.0, 1.5])  # three binary latents


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def polynomial(degree: int, size: int) -> Callable[[Tensor], Tensor]:
    """A polynomial of that degree of all entries of the sample together, not symmetric in anything."""
    generator = seeded(100 + size)
    linear = torch.randn(size, generator=generator, dtype=torch.float64)
    square = torch.randn(size, size, generator=generator, dtype=torch.float64) / 2
    cubic = torch.randn(size, generator=generator, dtype=torch.float64)

    def function(sample: Tensor) -> Tensor:
        x = sample.flatten(-2) if size == 6 else sample
        result = x @ linear.to(x.dtype)
        if degree >= 2:
            result = result + ((x @ square.to(x.dtype)) * x).sum(-1)
        if degree >= 3:
            result = result + (x @ cubic.to(x.dtype)) ** 3
        return result

    return function


def of_categories(degree: int) -> Callable[[Tensor], Tensor]:
    return polynomial(degree, 6)


def of_bits(degree: int) -> Callable[[Tensor], Tensor]:
    return polynomial(degree, 3)


def gradients(
    estimator: Estimator, row: Tensor, function: Callable[[Tensor], Tensor], tau: float, draws: int, seed: int
) -> Tensor:
    """One gradient to the logits a draw, all in one call."""
    logits = leaf(row.expand(draws, *row.shape))
    estimator.expectation(function, logits, tau, seeded(seed), binary=row.ndim == 1).sum().backward()
    return logits.grad


def decided_tau(estimator: Estimator, tau: float) -> tuple[float, float]:
    """The temperatures of the draw and of the backward pass."""
    return (tau, 0.7) if estimator == DECOUPLED else (1.0, tau)


def decided(estimator: Estimator, logits: Tensor, sample: Tensor, tau: float, g: Tensor) -> Tensor:
    """The gradient given the sample, in float64."""
    _, backward = decided_tau(estimator, tau)
    if isinstance(estimator, StraightThrough):
        return reference.straight_through(logits, backward, g)
    if isinstance(estimator, GappedStraightThrough):
        return reference.gapped(logits, sample, backward, estimator.gap, g)
    return reference.reinmax(logits, sample, backward, g)


# ---- means against enumeration


@pytest.mark.parametrize("estimator", [StraightThrough(), StraightThrough(backward_tau=1.0)], ids=repr)
def test_straight_through_is_exact_on_linear_functions(estimator: Estimator) -> None:
    """Each draw is, since the gradient of a linear function does not depend on it."""
    exact = reference.exact_gradient(of_categories(1), ROWS)
    got = gradients(estimator, ROWS, of_categories(1), 1.0, 100, 1).double()
    torch.testing.assert_close(got, exact.expand_as(got), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("degree", [1, 2])
def test_reinmax_is_exact_on_quadratic_functions(degree: int) -> None:
    exact = reference.exact_gradient(of_categories(degree), ROWS)
    reference.assert_mean(gradients(ReinMax(), ROWS, of_categories(degree), 1.0, 200_000, 2), exact)


@pytest.mark.parametrize("degree", [1, 2])
def test_bernoulli_reinmax_is_exact_on_quadratic_functions(degree: int) -> None:
    exact = reference.exact_gradient(of_bits(degree), ODDS, binary=True)
    reference.assert_mean(gradients(ReinMax(), ODDS, of_bits(degree), 1.0, 200_000, 3), exact)


def test_the_tests_of_exactness_can_fail() -> None:
    """The bias of estimators that are not exact is far outside the intervals used here."""
    exact = reference.exact_gradient(of_categories(2), ROWS)
    for estimator in (StraightThrough(), GappedStraightThrough(), GumbelRao()):
        with pytest.raises(AssertionError, match="sigma"):
            reference.assert_mean(gradients(estimator, ROWS, of_categories(2), 1.0, 50_000, 4), exact)
    with pytest.raises(AssertionError, match="sigma"):
        reference.assert_mean(
            gradients(ReinMax(), ROWS, of_categories(3), 1.0, 50_000, 4),
            reference.exact_gradient(of_categories(3), ROWS),
        )


@pytest.mark.parametrize("estimator", [LeaveOneOut(), LeaveOneOut(samples=5)], ids=repr)
@pytest.mark.parametrize("row", [ROWS, ODDS], ids=["categorical", "bernoulli"])
def test_leave_one_out_is_unbiased(estimator: Estimator, row: Tensor) -> None:
    function = of_categories(3) if row.ndim == 2 else of_bits(3)
    exact = reference.exact_gradient(function, row, binary=row.ndim == 1)
    reference.assert_mean(gradients(estimator, row, function, 1.0, 200_000, 5), exact)


def test_disarm_is_unbiased() -> None:
    exact = reference.exact_gradient(of_bits(3), ODDS, binary=True)
    reference.assert_mean(gradients(DisARM(), ODDS, of_bits(3), 1.0, 200_000, 6), exact)


def test_unbiased_estimators_need_no_gradient_of_the_function() -> None:
    """A table of losses, and losses of whole numbers."""
    table = torch.tensor([3.0, -1.0, 4.0, 1.0, -5.0, 9.0, 2.0, 6.0])

    def from_table(bits: Tensor) -> Tensor:
        return table[(bits.detach() @ torch.tensor([4.0, 2.0, 1.0], dtype=bits.dtype)).long()]

    samples = reference.bits(3)
    for estimator in SCORE:
        logits = ODDS.double().requires_grad_()
        expectation = (reference.probability_of(samples, logits, True) * from_table(samples).double()).sum()
        exact = torch.autograd.grad(expectation, logits)[0]
        reference.assert_mean(gradients(estimator, ODDS, from_table, 1.0, 100_000, 7), exact)


@each_decided
@pytest.mark.parametrize("tau", [0.5, 1.0, 1.4])
def test_the_mean_of_estimators_that_the_sample_decides(estimator: Estimator, tau: float) -> None:
    """Of a cubic function, where all are biased: their own bias."""
    forward, _ = decided_tau(estimator, tau)
    mean = reference.mean_over_samples(
        of_categories(3), ROWS, ROWS / forward, lambda sample, g: decided(estimator, ROWS, sample, tau, g)
    )
    reference.assert_mean(gradients(estimator, ROWS, of_categories(3), tau, 40_000, 8), mean)


@pytest.mark.parametrize("estimator", [StraightThroughGumbel(), GumbelRao(), GumbelRao(samples=1)], ids=repr)
@pytest.mark.parametrize("tau", [0.3, 1.0, 2.0])
def test_the_mean_of_the_gumbel_estimators_for_a_binary_variable(estimator: Estimator, tau: float) -> None:
    """Against an integral over the noise: f(b) = b^3 - b, with slopes -1 at 0 and 2 at 1."""
    mean = reference.straight_through_gumbel_of_two(0.7, tau, -1.0, 2.0)
    got = gradients(estimator, torch.tensor([0.7]), lambda b: (b**3 - b)[..., 0], tau, 100_000, 9)
    reference.assert_mean(got, mean)


@pytest.mark.parametrize("tau", [0.5, 1.0])
@pytest.mark.parametrize("samples", [1, 10])
def test_gumbel_rao_has_the_mean_of_straight_through_gumbel_and_less_variance(samples: int, tau: float) -> None:
    draws = 100_000
    plain = gradients(StraightThroughGumbel(), ROWS, of_categories(3), tau, draws, 10).double()
    averaged = gradients(GumbelRao(samples), ROWS, of_categories(3), tau, draws, 11).double()
    error = (plain.mean(0) - averaged.mean(0)).abs()
    assert (error <= 5 * ((plain.var(0) + averaged.var(0)) / draws).sqrt()).all()
    ratio = float(averaged.var(0).sum() / plain.var(0).sum())
    # with one conditional noise the same variance (ratios seen: 0.98-1.02); with ten less, by what the samples differ in
    assert 0.9 < ratio < 1.1 if samples == 1 else ratio < 0.9


def test_the_variance_of_gumbel_rao_on_a_linear_function() -> None:
    """No variance but the noise's own: with the notes' numbers (std 1.23 to 0.61 with K = 5) a ratio of about 1/4."""
    row, cost = torch.tensor([[0.5, -2.0, 0.0, 1.0, 0.3]]), torch.tensor([1.0, -3.0, 0.5, 2.0, -1.0])
    plain, averaged = (
        gradients(estimator, row, lambda sample: (sample @ cost)[..., 0], 0.5, 100_000, 12).var(0).sum()
        for estimator in (StraightThroughGumbel(), GumbelRao(10))
    )
    assert averaged < plain / 2


# ---- each draw


@each_decided
@each_dtype
@pytest.mark.parametrize("tau", [0.3, 1.0, 1.5])
def test_the_gradient_given_the_sample(estimator: Estimator, tau: float, dtype: torch.dtype) -> None:
    logits = leaf(torch.randn(20, 3, 5, generator=seeded(13)), dtype)
    g = torch.randn(20, 3, 5, generator=seeded(14)).to(dtype)
    sample = estimator(logits, tau, seeded(15))
    assert (sample.shape, sample.dtype) == (logits.shape, dtype)
    sample.backward(g)
    exact = decided(estimator, logits.detach(), sample.detach(), tau, g)
    torch.testing.assert_close(logits.grad.double(), exact, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] / tau)


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
    exact = decided(estimator, logits.detach()[rows], sample.detach()[rows], tau, g[rows])
    torch.testing.assert_close(logits.grad[rows].double(), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("tau", [0.3, 1.0, 1.5])
def test_the_gradient_of_straight_through_to_tau(tau: float, dtype: torch.dtype) -> None:
    logits, temperature = leaf(torch.randn(20, 5, generator=seeded(16)), dtype), leaf(tau, torch.float64)
    g = torch.randn(20, 5, generator=seeded(17)).to(dtype)
    StraightThrough()(logits, temperature, seeded(18)).backward(g)
    exact = reference.gradient_to_tau(logits.detach(), tau, g)
    assert float(temperature.grad) == pytest.approx(exact, rel=1e-9 if dtype == torch.float64 else 1e-3, abs=1e-4)


def test_the_mean_gradient_to_tau_is_that_of_the_gumbel_straight_through() -> None:
    """One temperature a row, so that there are many gradients: 5 sigma."""
    cost, moments = torch.tensor([1.0, -2.0, 3.0]), []
    for estimator in (StraightThroughGumbel(), GumbelRao()):
        generator, slopes = seeded(19), []
        for _ in range(100):
            tau, logits = leaf(0.7), ROWS[0].expand(400, 3)
            (estimator(logits, tau, generator) @ cost).square().mean().backward()
            slopes.append(float(tau.grad))
        x = torch.tensor(slopes, dtype=torch.float64)
        moments.append((x.mean(), x.var() / len(x)))
    (one, error), (other, other_error) = moments
    assert abs(one - other) < 5 * math.sqrt(error + other_error)


@each
@each_kind
@each_dtype
def test_samples_are_exactly_zero_and_one(estimator: Estimator, binary: bool, dtype: torch.dtype) -> None:
    logits = torch.randn(500, 7, generator=seeded(20)).to(dtype)
    draw = estimator.bernoulli if binary else estimator
    sample = draw(logits, 0.3, seeded(21))
    assert (sample.shape, sample.dtype) == (logits.shape, dtype)
    assert sample.unique().tolist() == [0, 1]
    assert binary or (sample.sum(-1) == 1).all()


@each
@pytest.mark.parametrize("categories", [2, 5, 70])
@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_samples_follow_the_distribution(estimator: Estimator, categories: int, tau: float) -> None:
    """Of the logits, or of logits / tau where the temperatures are decoupled. Every fifth category is masked."""
    logits = torch.randn(categories, generator=seeded(22))
    logits[3::5] = -math.inf
    counts = estimator(logits.expand(50_000, categories), tau, seeded(23)).argmax(-1).bincount(minlength=categories)
    forward, _ = decided_tau(estimator, tau)
    assert chi_square_p(counts, probabilities(logits / forward)) > 1e-4


@each
@each_half
def test_rare_events_in_half_precision(estimator: Estimator, dtype: torch.dtype) -> None:
    """About 50 events of p = 1e-4, shared by 20 categories."""
    logits, draws = torch.tensor([0.0] + [math.log(5e-6)] * 20).to(dtype), 100_000
    generator = seeded(24)
    common = sum(float(estimator(logits.expand(draws, 21), 1.0, generator)[:, 0].double().sum()) for _ in range(5))
    assert sigmas(5 * draws - common, 5 * draws, float(probabilities(logits)[1:].sum())) < 5


@each_of_all
@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_bernoulli_rates(estimator: Estimator, tau: float) -> None:
    seen: list[Tensor] = []

    def function(sample: Tensor) -> Tensor:
        seen.append(sample.detach())
        return sample.sum(-1)

    logits = torch.tensor([-6.0, -1.3, 0.0, 2.0]).expand(100_000, 4)
    estimator.expectation(function, logits, tau, seeded(25), binary=True)
    samples = torch.cat([sample.view(-1, 100_000, 4) for sample in seen])
    assert set(samples.unique().tolist()) == {0.0, 1.0}
    forward, _ = decided_tau(estimator, tau)
    for sample in samples:  # the samples of one example are not independent with DisARM
        for rate, p in zip(sample.sum(0), torch.sigmoid(logits[0] / forward), strict=True):
            assert sigmas(float(rate), 100_000, float(p)) < 5


@each_of_all
@each_kind
@each_half
def test_draws_are_made_in_float32_whatever_the_dtype(estimator: Estimator, binary: bool, dtype: torch.dtype) -> None:
    """Rounding logits / tau to 16 bits would change some of these 80,000 choices."""
    if not (binary or estimator.categorical):
        pytest.skip("for binary variables")
    logits, samples = (3 * torch.randn(20_000, 4, generator=seeded(26))).to(dtype), []

    def function(sample: Tensor) -> Tensor:
        samples.append(sample)
        return sample.float().sum(-1)

    for x in (logits, logits.float()):
        estimator.expectation(function, x, 0.9, seeded(27), binary=binary)
    assert torch.equal(samples[0].float(), samples[1])


# ---- generators


@each_of_all
@each_kind
def test_one_state_of_the_generator_gives_one_sample_and_gradient(estimator: Estimator, binary: bool) -> None:
    if not (binary or estimator.categorical):
        pytest.skip("for binary variables")
    cost, state, results = torch.randn(50, 4, generator=seeded(28)), torch.get_rng_state(), []
    for seed in (29, 29, 30):
        logits = leaf(torch.randn(50, 4, generator=seeded(31)))
        loss = estimator.expectation(
            lambda sample: (sample * cost).sum(-1) ** 2, logits, 0.6, seeded(seed), binary=binary
        )
        loss.sum().backward()
        results.append((loss.detach(), logits.grad))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one, other) for one, other in zip(results[0], results[1], strict=True))
    assert not torch.equal(results[0][0], results[2][0])
    assert not torch.equal(results[0][1], results[2][1])


@each_of_all
def test_the_default_generator_serves_without_one(estimator: Estimator) -> None:
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        logits = leaf(torch.zeros(50, 3))
        losses = estimator.expectation(lambda sample: (sample @ torch.arange(3.0)) ** 2, logits, 0.6, binary=True)
        losses.sum().backward()
        results.append((torch.get_rng_state(), logits.grad))
    assert all(torch.equal(one, other) for one, other in zip(results[0], results[1], strict=True))
    assert not torch.equal(results[0][1], results[2][1])


# ---- extreme and odd input


@each
@each_half
@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_many_categories_in_half_precision(estimator: Estimator, dtype: torch.dtype, tau: float) -> None:
    logits, temperature = leaf(torch.randn(8, 8192, generator=seeded(32)), dtype), leaf(tau)
    sample = estimator(logits, temperature, seeded(33))
    assert torch.equal(sample.float().sum(-1), torch.ones(8))
    (sample.float() @ torch.randn(8192, generator=seeded(34))).sum().backward()
    assert logits.grad.isfinite().all()
    assert logits.grad.any()
    assert temperature.grad is None or temperature.grad.isfinite()


@each
@each_dtype
@pytest.mark.parametrize("tau", [0.1, 1.0, 2.0])
def test_huge_logits_and_masks(estimator: Estimator, dtype: torch.dtype, tau: float) -> None:
    """Categories that cannot be are not drawn and get no gradient."""
    rows = [[1e4, -1e4, 1e4, -math.inf], [-1e4, -math.inf, -1e4, -math.inf], [-math.inf, -math.inf, 0.0, -1e4]]
    logits, temperature = leaf(torch.tensor(rows).expand(50, 3, 4), dtype), leaf(tau)
    sample = estimator(logits, temperature, seeded(35))
    (sample * torch.tensor([3.0, 1.0, -1.0, 2.0], dtype=dtype)).sum().backward()
    impossible = logits.detach() < logits.detach().amax(-1, keepdim=True)
    assert not sample[impossible].any()
    assert not logits.grad[impossible & logits.detach().isneginf()].any()
    assert logits.grad.isfinite().all()
    assert logits.grad[:, :2].any()
    assert temperature.grad is None or temperature.grad.isfinite()
    if not isinstance(estimator, GappedStraightThrough):  # whose gap reduces the distance of no category
        assert not logits.grad[impossible].any()


@each_of_all
@each_dtype
@pytest.mark.parametrize("extreme", [1e4, math.inf])
def test_sure_binary_choices(estimator: Estimator, dtype: torch.dtype, extreme: float) -> None:
    """Infinite log-odds are documented as sure choices (gumbel_sigmoid, check_elements)."""
    logits, tau = leaf([[-extreme, extreme, 0.3]] * 50, dtype), leaf(0.5)
    seen: list[Tensor] = []

    def function(sample: Tensor) -> Tensor:
        seen.append(sample.detach())
        return sample.sum(-1) ** 2

    losses = estimator.expectation(function, logits, tau, seeded(36), binary=True)
    losses.sum().backward()
    assert (seen[0][..., 0] == 0).all()
    assert (seen[0][..., 1] == 1).all()
    assert losses.isfinite().all()
    assert logits.grad.isfinite().all()
    assert not logits.grad[:, :2].any()
    assert tau.grad is None or tau.grad.isfinite()


@pytest.mark.parametrize("estimator", [LeaveOneOut(), LeaveOneOut(samples=5)], ids=repr)
@each_dtype
def test_leave_one_out_with_huge_logits_and_masks(estimator: Estimator, dtype: torch.dtype) -> None:
    logits = leaf([[1e4, -1e4, 1e4, -math.inf], [-math.inf, -math.inf, 0.0, 0.5]] * 50, dtype)
    cost = torch.tensor([3.0, 1.0, -1.0, 2.0], dtype=dtype)
    losses = estimator.expectation(lambda sample: sample @ cost, logits, 1.0, seeded(37))
    losses.sum().backward()
    assert losses.isfinite().all()
    assert logits.grad.isfinite().all()
    assert logits.grad.any()
    assert not logits.grad[logits.detach() < -1e3].any()


@each
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
    assert torch.equal(sample, other)
    torch.testing.assert_close(gradient, other_gradient)  # sums over strides are not rounded alike


@each
def test_an_expanded_gradient(estimator: Estimator) -> None:
    logits = leaf(torch.randn(5, 6, generator=seeded(41)))
    sample = estimator(logits, 0.6, seeded(42))
    sample.sum().backward()  # the one sum that no choice changes
    torch.testing.assert_close(logits.grad, torch.zeros(5, 6), rtol=0, atol=1e-5)


@each
@each_kind
def test_shapes_of_batches(estimator: Estimator, binary: bool) -> None:
    for shape in ((4,), (0, 4), (2, 0, 4), (2, 3, 4), (5, 1), (1, 1), *([()] if binary else [])):
        logits, tau = leaf(torch.zeros(shape)), leaf(0.5)
        sample = (estimator.bernoulli if binary else estimator)(logits, tau)
        assert sample.shape == shape
        sample.square().sum().backward()
        assert logits.grad.shape == shape
        assert logits.grad.isfinite().all()
        if not binary and shape[-1] == 1:
            assert (sample == 1).all()
            torch.testing.assert_close(logits.grad, torch.zeros(shape), rtol=0, atol=1e-6)


@each
@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("row", [[math.nan, 0.0], [math.inf, 0.0], [-math.inf, -math.inf]])
def test_rows_without_a_distribution(estimator: Estimator, row: list[float], learnable: bool) -> None:
    with pytest.raises(ValueError, match="1 of 2 rows of logits have no distribution"):
        estimator(torch.tensor([[0.0, 1.0], row]), torch.tensor(0.5, requires_grad=learnable))


@pytest.mark.parametrize("row", [[math.nan, 0.0], [math.inf, 0.0], [-math.inf, -math.inf]])
def test_leave_one_out_of_rows_without_a_distribution(row: list[float]) -> None:
    with pytest.raises(ValueError, match="rows of logits have no distribution"):
        LeaveOneOut().expectation(lambda sample: sample.sum(-1), torch.tensor([[0.0, 1.0], row]))


@each_of_all
def test_nan_log_odds(estimator: Estimator) -> None:
    with pytest.raises(ValueError, match=r"(?i)nan"):
        estimator.expectation(lambda sample: sample, torch.tensor([0.0, math.nan]), binary=True)


@each
@pytest.mark.parametrize("tau", [0.0, -1.0, math.nan, math.inf, torch.tensor(0.0), torch.tensor([1.0])], ids=str)
def test_bad_temperatures(estimator: Estimator, tau: float | Tensor) -> None:
    for draw in (estimator, estimator.bernoulli):
        with pytest.raises(ValueError, match="tau must be"):
            draw(torch.zeros(2, 3), tau)


@each
def test_no_categories_and_no_floats(estimator: Estimator) -> None:
    with pytest.raises(ValueError, match="no category"):
        estimator(torch.zeros(3, 0))
    with pytest.raises(ValueError, match="logits must be floating"):
        estimator(torch.zeros(3, 2, dtype=torch.int64))


@each
@each_kind
def test_without_gradients(estimator: Estimator, binary: bool) -> None:
    logits = leaf(torch.randn(20, 3, generator=seeded(43)))
    draw = estimator.bernoulli if binary else estimator
    with torch.no_grad():
        sample = draw(logits, 0.5, seeded(44))
    with torch.inference_mode():
        again = draw(logits, 0.5, seeded(44))
    assert not sample.requires_grad
    assert not draw(logits.detach(), 0.5).requires_grad
    assert torch.equal(sample, again)
    assert torch.equal(sample, draw(logits, 0.5, seeded(44)))


@each
def test_a_sample_may_be_changed_in_place(estimator: Estimator) -> None:
    logits, gradients = torch.randn(20, 3, generator=seeded(45)), []
    for in_place in (False, True):
        x = leaf(logits)
        sample = estimator(x, 0.5, seeded(46))
        sample = sample.mul_(torch.arange(3.0)) if in_place else sample * torch.arange(3.0)
        sample.sum(-1).square().sum().backward()
        gradients.append(x.grad)
    assert torch.equal(*gradients)


# ---- torch.compile and torch.func


def check_traced(estimator: Estimator, sample: Tensor, logits: Tensor, tau: float, cost: Tensor) -> None:
    """Rates, and the gradient of (sample @ cost)^2 given the sample, or its mean."""
    row, count = logits.detach()[0], len(logits)
    hard = sample.detach()
    assert hard.unique().tolist() == [0, 1]
    forward, _ = decided_tau(estimator, tau)
    assert chi_square_p(hard.argmax(-1).bincount(minlength=len(row)), probabilities(row / forward)) > 1e-4
    g = 2 * (hard @ cost).unsqueeze(-1) * cost
    if estimator in DECIDED:
        exact = decided(estimator, logits.detach(), hard, tau, g)
        torch.testing.assert_close(logits.grad.double(), exact, rtol=1e-4, atol=1e-5)
        return
    x = leaf(logits.detach())
    (StraightThroughGumbel()(x, tau, seeded(47)) @ cost).square().sum().backward()
    one, other = logits.grad.double(), x.grad.double()
    assert ((one.mean(0) - other.mean(0)).abs() <= 5 * ((one.var(0) + other.var(0)) / count).sqrt()).all()


ROW, COST = torch.tensor([0.5, -1.0, 0.0, -math.inf]), torch.tensor([1.0, -2.0, 3.0, 1.0])


@compiles
@each
def test_compiled(estimator: Estimator) -> None:
    """Several sizes of batch (the second asks for any size), a learnable temperature, one graph."""
    torch.compiler.reset()
    torch.manual_seed(48)
    compiled = torch.compile(lambda x, t: estimator(x, t), fullgraph=True, backend="aot_eager")
    for size in (20_000, 7, 5):
        logits, tau = leaf(ROW.expand(size, 4)), leaf(0.6)
        sample = compiled(logits, tau)
        (sample @ COST).square().sum().backward()
        assert sample.shape == (size, 4)
        assert logits.grad.isfinite().all()
        assert tau.grad is None or tau.grad.isfinite()
        if size == 20_000:
            check_traced(estimator, sample, logits, 0.6, COST)
            learns = estimator not in (ReinMax(), DECOUPLED)
            assert (tau.grad is not None and bool(tau.grad != 0)) == learns


@compiles
def test_compiled_by_inductor() -> None:
    torch.compiler.reset()
    torch.manual_seed(49)
    family = [ReinMax(), GumbelRao()]
    rows = [leaf(ROW.expand(5_000, 4)) for _ in family]
    compiled = torch.compile(lambda xs: [draw(x, 0.6) for draw, x in zip(family, xs, strict=True)], fullgraph=True)
    samples = compiled(rows)
    sum((sample @ COST).square().sum() for sample in samples).backward()
    for estimator, sample, logits in zip(family, samples, rows, strict=True):
        check_traced(estimator, sample, logits, 0.6, COST)


@each
def test_vmap_over_a_batch(estimator: Estimator) -> None:
    torch.manual_seed(50)
    logits = leaf(ROW.expand(20_000, 4))
    sample = torch.func.vmap(lambda row: estimator(row, 0.6), randomness="different")(logits)
    (sample @ COST).square().sum().backward()
    check_traced(estimator, sample, logits, 0.6, COST)


@each
def test_gradients_of_examples(estimator: Estimator) -> None:
    """vmap(grad(f)): one gradient an example."""
    torch.manual_seed(51)

    def loss(row: Tensor) -> tuple[Tensor, Tensor]:
        sample = estimator(row, 0.6)
        return (sample @ COST).square(), sample

    logits = ROW.expand(20_000, 4).clone()
    grad, sample = torch.func.vmap(torch.func.grad(loss, has_aux=True), randomness="different")(logits)
    logits.grad = grad
    check_traced(estimator, sample, logits, 0.6, COST)


# ---- as values, and in layers


@pytest.mark.parametrize("estimator", [*PATHWISE, *SCORE, GappedStraightThrough(gap=0.25), GumbelRao(3)], ids=repr)
def test_an_estimator_is_a_value(estimator: Estimator) -> None:
    other = dataclasses.replace(estimator)  # type: ignore[type-var]
    assert other == estimator
    assert hash(other) == hash(estimator)
    assert pickle.loads(pickle.dumps(estimator)) == estimator
    assert copy.deepcopy(estimator) == estimator
    assert eval(repr(estimator)) == estimator
    with pytest.raises(dataclasses.FrozenInstanceError):
        estimator.samples = 4  # type: ignore[attr-defined]


def test_parameters_are_checked() -> None:
    for build, message in (
        (lambda: LeaveOneOut(samples=1), "LeaveOneOut: samples must be at least 2.*got 1"),
        (lambda: GumbelRao(samples=0), "GumbelRao: samples must be at least 1, got 0"),
        (lambda: GappedStraightThrough(gap=-1.0), "gap must be >= 0 and finite, got -1"),
        (lambda: GappedStraightThrough(gap=math.inf), "gap must be >= 0 and finite, got inf"),
        (lambda: GappedStraightThrough(gap=math.nan), "gap must be >= 0 and finite, got nan"),
        (lambda: StraightThrough(backward_tau=0.0), "backward_tau must be positive and finite, got 0"),
        (lambda: StraightThrough(backward_tau=-1.0), "backward_tau must be positive and finite, got -1"),
        (lambda: StraightThrough(backward_tau=math.nan), "backward_tau must be positive and finite, got nan"),
    ):
        with pytest.raises(ValueError, match=message):
            build()


@each_score
def test_a_sample_alone_is_refused(estimator: Estimator) -> None:
    for draw in (estimator, estimator.bernoulli):
        with pytest.raises(TypeError, match=rf"{type(estimator).__name__} .*expectation"):
            draw(torch.zeros(2, 3))


def test_layers_refuse_what_cannot_serve_them() -> None:
    with pytest.raises(ValueError, match=r"DisARM\(\) is for binary variables.*LeaveOneOut"):
        RelaxedCategorical(DisARM())
    for estimator in (DisARM(), LeaveOneOut()):
        with pytest.raises(ValueError, match=type(estimator).__name__):
            GumbelQuantizer(8, 4, estimator)
    layer, quantizer = RelaxedCategorical(), GumbelQuantizer(8, 4)
    for module, estimator in ((layer, DisARM()), (quantizer, LeaveOneOut()), (quantizer, DisARM())):
        with pytest.raises(ValueError, match=type(estimator).__name__):
            use_estimator(module, estimator)
    assert layer.estimator == quantizer.sample.estimator == StraightThroughGumbel()  # as they were
    with pytest.raises(TypeError, match="for binary variables"):
        DisARM().expectation(lambda sample: sample.sum(-1), torch.zeros(2, 3))


@each_of_all
def test_layers_take_what_serves_them(estimator: Estimator) -> None:
    layers: list[nn.Module] = [RelaxedBernoulli(estimator, 0.5)]
    if estimator.categorical:
        layers.append(RelaxedCategorical(estimator, 0.5))
    for layer in layers:
        logits = leaf(torch.randn(6, 2, 3, generator=seeded(52)))
        losses = layer.expectation(lambda sample: sample.flatten(-2).cumsum(-1).sum(-1) ** 2, logits)
        assert losses.shape == (6,)
        losses.sum().backward()
        assert logits.grad.isfinite().all()
        assert logits.grad.any()
        assert layer.eval()(logits).unique().tolist() == [0, 1]
    if estimator.pathwise:
        result = GumbelQuantizer(8, 4, estimator)(torch.randn(5, 4, generator=seeded(53)))
        assert result.quantized.requires_grad
