"""p-values are bounded by 1e-4 and intervals are 5 standard deviations (6e-7), for seeds fixed in advance."""

import math

import pytest
import torch
from torch import Tensor

from discrete_lightning.functional import gumbel_sigmoid, logistic_noise
from tests.references.goodness_of_fit import sigmas, uniform_p
from tests.references.gumbel import relaxed_bernoulli_cdf, sigmoid_sample
from tests.references.inputs import leaf, seeded

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
TOLERANCE = {torch.float64: 1e-7, torch.float32: 1e-5, torch.bfloat16: 4e-3, torch.float16: 5e-4}


def test_logistic_noise_follows_the_distribution() -> None:
    noise = logistic_noise(torch.Size([1_000_000]), generator=seeded(1))
    assert noise.dtype == torch.float32
    assert uniform_p(torch.sigmoid(noise.double())) > 1e-4


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (2, 3, 5)])
def test_logistic_noise_of_every_shape(shape: tuple[int, ...]) -> None:
    noise = logistic_noise(torch.Size(shape), generator=seeded())
    assert noise.shape == shape
    assert noise.isfinite().all()


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_both_tails_of_the_noise_are_exact(sign: float) -> None:
    """P(L > 11.5) = 1.0e-5: about 100 of 10^7 draws."""
    generator = seeded(2)
    above = sum(
        int((logistic_noise(torch.Size([250_000]), generator=generator) * sign > 11.5).sum()) for _ in range(40)
    )
    assert sigmas(above, 10_000_000, 1 / (1 + math.exp(11.5))) < 5


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("log_odds", [-11.5, -3.0, 0.0, 0.7, 11.5])
def test_rates(log_odds: float, dtype: torch.dtype) -> None:
    logits = torch.tensor(log_odds, dtype=dtype).expand(250_000)
    generator, blocks = seeded(3), 8
    ones = sum(float(gumbel_sigmoid(logits, 0.5, hard=True, generator=generator).double().sum()) for _ in range(blocks))
    assert sigmas(ones, blocks * len(logits), float(torch.sigmoid(logits[0].double()))) < 5


@pytest.mark.parametrize("tau", [0.5, 1.0, 4.0])
def test_relaxed_samples_follow_their_distribution(tau: float) -> None:
    logits = torch.tensor(-0.6, dtype=torch.float64).expand(300_000)
    assert uniform_p(relaxed_bernoulli_cdf(gumbel_sigmoid(logits, tau, generator=seeded(4)), -0.6, tau)) > 1e-4


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("tau", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("shape", [(), (7,), (2, 3, 4)])
def test_value_and_gradients(shape: tuple[int, ...], tau: float, dtype: torch.dtype) -> None:
    logits, temperature = leaf(torch.randn(shape, generator=seeded(5)), dtype), leaf(tau)
    cotangent = torch.randn(shape, generator=seeded(6)).to(dtype)
    sample = gumbel_sigmoid(logits, temperature, generator=seeded(7))
    sample.backward(cotangent)
    perturbed = logits.detach().double() + logistic_noise(logits.shape, generator=seeded(7))
    value, to_logits, to_tau = sigmoid_sample(perturbed, temperature.item(), cotangent)
    tolerance = TOLERANCE[dtype]
    assert (sample.dtype, logits.grad.dtype, temperature.grad.dtype) == (dtype, dtype, torch.float32)
    torch.testing.assert_close(sample.double(), value, rtol=0, atol=tolerance)
    torch.testing.assert_close(logits.grad.double(), to_logits, rtol=tolerance, atol=10 * tolerance / tau)
    torch.testing.assert_close(temperature.grad.double(), to_tau, rtol=1e-4, atol=1e-5 / tau**2)


def test_gradcheck() -> None:
    logits, tau = leaf(torch.randn(6, generator=seeded(8)), torch.float64), leaf(0.7, torch.float64)

    def sample(logits: Tensor, tau: Tensor) -> Tensor:
        return gumbel_sigmoid(logits, tau, generator=seeded(9))

    assert torch.autograd.gradcheck(sample, (logits, tau))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("tau", [0.1, 100.0])
def test_hard_samples_are_0_or_1_with_the_gradient_of_relaxed_ones(tau: float, dtype: torch.dtype) -> None:
    gradients, samples = [], []
    for hard in (False, True):
        logits, temperature = leaf(torch.randn(500, generator=seeded(10)), dtype), leaf(tau)
        samples.append(gumbel_sigmoid(logits, temperature, hard=hard, generator=seeded(11)))
        samples[-1].backward(torch.randn(500, generator=seeded(12)).to(dtype))
        gradients.append((logits.grad, temperature.grad))
    perturbed = logits.detach().float() + logistic_noise(logits.shape, generator=seeded(11))
    assert samples[1].dtype == dtype
    assert samples[1].unique().tolist() == [0, 1]
    assert torch.equal(samples[1].bool(), perturbed > 0)
    assert all(torch.equal(soft, hard) and soft.any() for soft, hard in zip(*gradients, strict=True))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("magnitude", [1e4, math.inf])
def test_sure_events(magnitude: float, hard: bool, dtype: torch.dtype) -> None:
    logits, tau = leaf([magnitude, -magnitude, 0.0], dtype), leaf(0.1)
    sample = gumbel_sigmoid(logits, tau, hard=hard, generator=seeded(13))
    sample.sum().backward()
    assert sample[:2].tolist() == [1, 0]
    assert logits.grad[:2].tolist() == [0, 0]
    assert logits.grad.isfinite().all()
    assert tau.grad.isfinite()
    assert tau.grad != 0


@pytest.mark.parametrize("hard", [False, True])
def test_nan_logits_are_counted(hard: bool) -> None:
    with pytest.raises(ValueError, match=r"2 of 4 Bernoulli logits are NaN; shape \(2, 2\)"):
        gumbel_sigmoid(torch.tensor([[0.0, math.nan], [math.nan, math.inf]]), hard=hard)


@pytest.mark.parametrize(
    "tau", [0.0, -1.0, math.nan, math.inf, torch.tensor(-1.0), torch.ones(3), torch.tensor(0.0).requires_grad_()]
)
def test_bad_temperatures(tau: float | Tensor) -> None:
    with pytest.raises(ValueError, match="tau must be"):
        gumbel_sigmoid(torch.zeros(2), tau)


@pytest.mark.parametrize("hard", [False, True])
def test_a_generator_makes_samples_reproducible(hard: bool) -> None:
    logits, generator, before = torch.zeros(1000), seeded(14), torch.get_rng_state()
    first, second = (gumbel_sigmoid(logits, hard=hard, generator=generator) for _ in range(2))
    assert torch.equal(gumbel_sigmoid(logits, hard=hard, generator=seeded(14)), first)
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("hard", [False, True])
def test_memory_layout_does_not_matter(hard: bool) -> None:
    logits = torch.randn(5, 4, generator=seeded(15))
    strided = gumbel_sigmoid(logits.t(), hard=hard, generator=seeded(16))
    assert torch.equal(strided, gumbel_sigmoid(logits.t().contiguous(), hard=hard, generator=seeded(16)))


@pytest.mark.parametrize("hard", [False, True])
def test_vmap_draws_for_each_example(hard: bool) -> None:
    def sample(logits: Tensor) -> Tensor:
        return gumbel_sigmoid(logits, hard=hard)

    samples = torch.func.vmap(sample, randomness="different")(torch.full((100_000, 1), 0.7))
    assert sigmas(int((samples > 0.5).sum()), 100_000, 1 / (1 + math.exp(-0.7))) < 5


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles
@pytest.mark.parametrize("hard", [False, True])
def test_compiled_samples(hard: bool) -> None:
    logits, tau = leaf(torch.full((50_000,), 0.7)), leaf(0.5)
    torch.manual_seed(0)
    sample = torch.compile(gumbel_sigmoid, fullgraph=True, backend="aot_eager")(logits, tau, hard=hard)
    sample.sum().backward()
    assert sigmas(int((sample > 0.5).sum()), 50_000, 1 / (1 + math.exp(-0.7))) < 5
    assert not hard or sample.unique().tolist() == [0, 1]
    assert (logits.grad >= 0).all()
    assert logits.grad.any()
    assert tau.grad.isfinite()
