"""p-values are bounded by 1e-4 and intervals are 5 standard deviations (6e-7), for seeds fixed in advance."""

import dataclasses
import math
import pickle

import numpy as np
import pytest
import torch
from torch import Tensor

from discrete_lightning.estimators import Estimator, GumbelSoftmax, StraightThrough, StraightThroughGumbel
from discrete_lightning.functional import gumbel_noise, logistic_noise
from tests.references.goodness_of_fit import chi_square_p, sigmas
from tests.references.gumbel import probabilities, relaxed_bernoulli_gradient_moments, sigmoid_sample, softmax_sample
from tests.references.inputs import leaf, seeded

HARD = [StraightThroughGumbel(), StraightThrough()]
ALL = [GumbelSoftmax(), *HARD]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 4e-3, torch.float16: 5e-4}
BAD_TAUS = [0.0, -1.0, math.nan, math.inf, torch.tensor(0.0), torch.tensor(-1.0).requires_grad_(), torch.tensor([1.0])]

each = pytest.mark.parametrize("estimator", ALL, ids=repr)
each_hard = pytest.mark.parametrize("estimator", HARD, ids=repr)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
each_kind = pytest.mark.parametrize("binary", [False, True], ids=["categorical", "bernoulli"])


def draw(estimator: Estimator, binary: bool, logits: Tensor, tau: float | Tensor, seed: int | None = None) -> Tensor:
    generator = None if seed is None else seeded(seed)
    return (estimator.bernoulli if binary else estimator)(logits, tau, generator)


def oracle(
    estimator: Estimator, binary: bool, logits: Tensor, tau: float, seed: int, cotangent: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Value, gradient to the logits and to tau of each estimator, given the noise where it has a share in them."""
    noise = (logistic_noise if binary else gumbel_noise)(logits.shape, generator=seeded(seed))
    perturbed = logits.double() + noise
    relaxed = sigmoid_sample if binary else softmax_sample
    backward = logits if isinstance(estimator, StraightThrough) else perturbed
    value, to_logits, to_tau = relaxed(backward, tau, cotangent)
    if isinstance(estimator, StraightThroughGumbel):
        one_hot = torch.nn.functional.one_hot(perturbed.argmax(-1), logits.shape[-1])
        value = ((perturbed > 0) if binary else one_hot).double()
    return value, to_logits, to_tau


@each
def test_an_estimator_is_a_value(estimator: Estimator) -> None:
    other = type(estimator)()
    assert estimator == other
    assert hash(estimator) == hash(other)
    assert pickle.loads(pickle.dumps(estimator)) == estimator
    assert eval(repr(estimator)) == estimator
    assert isinstance(estimator, Estimator)
    with pytest.raises(dataclasses.FrozenInstanceError):
        estimator.gap = 1.0  # type: ignore[attr-defined]


def test_estimators_of_different_kinds_differ() -> None:
    assert len(set(ALL)) == len(ALL)


def test_an_estimator_without_samples_says_what_to_use_instead() -> None:
    for draw_with in (Estimator(), Estimator().bernoulli):
        with pytest.raises(TypeError, match=r"use estimator\.expectation"):
            draw_with(torch.zeros(2, 3))


@each
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
    if isinstance(estimator, StraightThrough):  # draws as it likes: see test_the_winner_follows_the_distribution
        value = torch.nn.functional.one_hot(sample.argmax(-1), 5).double() if not binary else (sample > 0.5).double()
    torch.testing.assert_close(sample.double(), value, rtol=0, atol=0 if estimator in HARD else tolerance)
    torch.testing.assert_close(logits.grad.double(), to_logits, rtol=tolerance, atol=10 * tolerance / tau)
    torch.testing.assert_close(temperature.grad.double(), to_tau, rtol=1e-3, atol=1e-4 / tau**2)


@each_hard
@each_kind
@each_dtype
def test_hard_samples_do_not_depend_on_tau(estimator: Estimator, binary: bool, dtype: torch.dtype) -> None:
    logits = torch.randn(500, 7, generator=seeded(4)).to(dtype)
    samples = [draw(estimator, binary, logits, tau, seed=5) for tau in (0.1, 1.0, 50.0)]
    assert samples[0].unique().tolist() == [0, 1]
    assert binary or (samples[0].sum(-1) == 1).all()
    assert torch.equal(samples[0], samples[1])
    assert torch.equal(samples[0], samples[2])


@each
@pytest.mark.parametrize("tau", [0.1, 10.0])
@pytest.mark.parametrize(("categories", "draws"), [(2, 500_000), (4, 200_000), (70, 100_000), (1000, 20_000)])
def test_the_winner_follows_the_distribution(estimator: Estimator, categories: int, draws: int, tau: float) -> None:
    """With every fifth category masked."""
    logits = 2 * torch.randn(categories, generator=seeded(6))
    logits[3::5] = -math.inf
    winners = draw(estimator, False, logits.expand(draws, categories), tau, seed=6).argmax(-1)
    assert chi_square_p(winners.bincount(minlength=categories), probabilities(logits)) > 1e-4


@each_hard
@each_dtype
def test_rare_events_come_at_their_rate(estimator: Estimator, dtype: torch.dtype) -> None:
    """Twenty categories of p = 1e-5 beside a common one: about 400 events."""
    logits, generator, draws = torch.tensor([0.0] + [math.log(1e-5)] * 20).to(dtype), seeded(21), 40_000
    samples = [estimator(logits.expand(draws, 21), 0.5, generator) for _ in range(50)]
    events = 50 * draws - sum(int(sample[:, 0].sum(dtype=torch.float64)) for sample in samples)
    assert sigmas(events, 50 * draws, float(probabilities(logits)[1:].sum())) < 5


@each
@pytest.mark.parametrize("tau", [0.1, 10.0])
def test_the_bernoulli_winner_follows_the_distribution(estimator: Estimator, tau: float) -> None:
    ones = draw(estimator, True, torch.full((200_000,), -1.3), tau, seed=7) > 0.5
    assert sigmas(int(ones.sum()), 200_000, 1 / (1 + math.exp(1.3))) < 5


def test_straight_through_is_exact_on_linear_functions() -> None:
    """p_i (c_i - sum_j p_j c_j), whatever was drawn."""
    logits, cost = leaf(torch.tensor([0.5, -2.0, 0.0, 1.0]).expand(100, 4)), torch.tensor([1.0, -3.0, 0.5, 2.0])
    StraightThrough().expectation(lambda sample: sample @ cost, logits).sum().backward()
    p = probabilities(logits.detach())
    exact = p * (cost - (p * cost).sum(-1, keepdim=True))
    torch.testing.assert_close(logits.grad.double(), exact, rtol=1e-5, atol=1e-6)


def test_bernoulli_straight_through_is_exact_on_linear_functions() -> None:
    logits = leaf([-2.0, 0.0, 3.0])
    StraightThrough().expectation(lambda sample: 5 * sample, logits, binary=True).sum().backward()
    p = torch.sigmoid(logits.detach())
    torch.testing.assert_close(logits.grad, 5 * p * (1 - p))


def relaxed_gradients(tau: float, log_odds: float, binary: bool) -> Tensor:
    """400,000 gradients of one relaxed choice of two to its log-odds."""
    rows = torch.tensor([log_odds] if binary else [log_odds, 0.0], dtype=torch.float64).expand(400_000, -1)
    logits = leaf(rows, torch.float64)
    draw(GumbelSoftmax(), binary, logits, tau, seed=8)[:, 0].sum().backward()
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


@each
@each_kind
def test_expectation_is_the_function_of_a_sample(estimator: Estimator, binary: bool) -> None:
    gradients, weight = [], torch.randn(3, 4, generator=seeded(11))
    for by_hand in (False, True):
        logits, tau = leaf(torch.randn(6, 3, 4, generator=seeded(12))), leaf(0.6)

        def loss(sample: Tensor) -> Tensor:
            return (sample * weight).sum((-2, -1)).square()

        if by_hand:
            losses = loss(draw(estimator, binary, logits, tau, seed=13))
        else:
            losses = estimator.expectation(loss, logits, tau, seeded(13), binary=binary)
        assert losses.shape == (6,)
        losses.mean().backward()
        gradients.append((losses.detach(), logits.grad, tau.grad))
    assert all(torch.equal(one, other) and one.any() for one, other in zip(*gradients, strict=True))


@each_hard
def test_expectation_is_the_expectation(estimator: Estimator) -> None:
    logits, cost = torch.tensor([0.5, -2.0, 0.0]), torch.tensor([1.0, 4.0, -2.0])
    losses = estimator.expectation(lambda sample: (sample @ cost).square(), logits.expand(200_000, 3), 0.3, seeded(14))
    exact = float((probabilities(logits) * cost.square()).sum())
    assert abs(losses.mean() - exact) < 5 * losses.std() / math.sqrt(len(losses))


@each
@each_kind
@pytest.mark.parametrize("tau", BAD_TAUS)
def test_bad_temperatures(estimator: Estimator, binary: bool, tau: float | Tensor) -> None:
    with pytest.raises(ValueError, match="tau must be"):
        draw(estimator, binary, torch.zeros(2, 3), tau)


@each
@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("row", [[math.nan, 0.0], [math.inf, 0.0], [-math.inf, -math.inf]])
def test_rows_without_a_distribution(estimator: Estimator, row: list[float], learnable: bool) -> None:
    with pytest.raises(ValueError, match="1 of 2 rows of logits have no distribution"):
        estimator(torch.tensor([[0.0, 1.0], row]), torch.tensor(0.5, requires_grad=learnable))


@each
def test_nan_log_odds(estimator: Estimator) -> None:
    with pytest.raises(ValueError, match="1 of 2 Bernoulli logits are NaN"):
        estimator.bernoulli(torch.tensor([0.0, math.nan]))


@each
@each_kind
@each_dtype
def test_masked_and_sure_choices(estimator: Estimator, binary: bool, dtype: torch.dtype) -> None:
    logits, tau = leaf([[-math.inf, 0.0, 1.0], [-math.inf, -math.inf, 2.0]], dtype), leaf(0.1)
    sample = draw(estimator, binary, logits, tau, seed=15)
    (sample * torch.tensor([3.0, 1.0, -1.0], dtype=dtype)).sum().backward()
    masked = logits.detach().isneginf()
    assert not sample[masked].any()
    assert not logits.grad[masked].any()
    assert logits.grad.isfinite().all()
    assert tau.grad.isfinite()


@each
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_many_categories_in_half_precision_at_a_low_temperature(estimator: Estimator, dtype: torch.dtype) -> None:
    logits, tau = leaf(torch.randn(16, 8192, generator=seeded(16)), dtype), leaf(0.1)
    sample = estimator(logits, tau, seeded(17))
    (sample.float() @ torch.randn(8192, generator=seeded(18))).sum().backward()
    assert logits.grad.isfinite().all()
    assert logits.grad.any()
    assert tau.grad.isfinite()
    torch.testing.assert_close(sample.double().sum(-1), torch.ones(16, dtype=torch.float64), rtol=0, atol=0.02)


@each
@each_kind
def test_the_default_generator_is_used_without_one(estimator: Estimator, binary: bool) -> None:
    logits = torch.zeros(20, 3)
    samples = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        samples.append(draw(estimator, binary, logits, 1.0))
    assert torch.equal(samples[0], samples[1])
    assert not torch.equal(samples[0], samples[2])


@each
@each_kind
def test_samples_outside_of_training(estimator: Estimator, binary: bool) -> None:
    logits = leaf(torch.randn(20, 3, generator=seeded(19)))
    with torch.inference_mode():
        sample = draw(estimator, binary, logits, 0.5, seed=20)
    assert not sample.requires_grad
    assert torch.equal(sample, draw(estimator, binary, logits, 0.5, seed=20))


@each
def test_any_shape_of_batch(estimator: Estimator) -> None:
    for shape in ((4,), (0, 4), (2, 0, 4), (2, 3, 4), (5, 1)):
        assert estimator(torch.zeros(shape)).shape == shape
        assert estimator.bernoulli(torch.zeros(shape)).shape == shape
    assert estimator.bernoulli(torch.tensor(0.0)).shape == ()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles
@each
@each_kind
def test_compiled_samples_of_batches_of_several_sizes(estimator: Estimator, binary: bool) -> None:
    """The second size makes torch.compile ask for any size: the last batch of an epoch is often a smaller one."""
    torch.compiler.reset()
    function = estimator.bernoulli if binary else estimator
    compiled = torch.compile(lambda x: function(x, 0.5), fullgraph=True, backend="aot_eager")
    for size in (6, 4, 3):
        assert compiled(torch.zeros(size, 2)).shape == (size, 2)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles
@each
@each_kind
def test_compiled_samples(estimator: Estimator, binary: bool) -> None:
    """Draws in a compiled graph come from its own generator, so their distribution is what can be compared."""
    row = torch.tensor([0.5, -1.0, 0.0])
    logits, tau = leaf(row.expand(50_000, 3)), leaf(0.5)
    torch.manual_seed(0)
    function = estimator.bernoulli if binary else estimator
    sample = torch.compile(lambda x, t: function(x, t), fullgraph=True, backend="aot_eager")(logits, tau)
    (sample * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    rates = torch.sigmoid(row) if binary else probabilities(row)
    wins = (sample > 0.5).sum(0) if binary else sample.argmax(-1).bincount(minlength=3)
    assert all(sigmas(int(won), 50_000, float(rate)) < 5 for won, rate in zip(wins, rates, strict=True))
    assert logits.grad.isfinite().all()
    assert logits.grad.any()
    assert tau.grad.isfinite()
    assert tau.grad != 0
