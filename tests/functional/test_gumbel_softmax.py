"""p-values are bounded by 1e-4, for seeds fixed in advance."""

import inspect
import math
import shutil
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from discrete_lightning.functional import gumbel_max, gumbel_noise, gumbel_softmax, softmax
from tests.references.goodness_of_fit import chi_square_p, same_p, uniform_p
from tests.references.gumbel import probabilities, relaxed_bernoulli_cdf, softmax_sample
from tests.references.inputs import leaf, seeded

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
NO_COMPILER = pytest.mark.skipif(not shutil.which("g++"), reason="inductor needs a C++ compiler")
COMPILED = pytest.param(True, "inductor", marks=NO_COMPILER)
# of values in [0, 1]: rounding of the result, and for float32 of its exponents
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 4e-3, torch.float16: 5e-4}


def noise_of(logits: Tensor, seed: int) -> Tensor:
    return gumbel_noise(logits.shape, generator=seeded(seed))


def test_the_arguments_are_those_of_torch() -> None:
    theirs = inspect.signature(torch.nn.functional.gumbel_softmax).parameters
    ours = inspect.signature(gumbel_softmax).parameters
    for name in ("logits", "tau", "hard", "dim"):
        assert ours[name].default == theirs[name].default


def test_hard_samples_are_distributed_as_torch_s() -> None:
    logits = torch.tensor([0.3, -2.0, 1.0, 0.0]).expand(300_000, 4)
    torch.manual_seed(0)
    theirs = torch.nn.functional.gumbel_softmax(logits, tau=0.7, hard=True).round().sum(0).long()
    ours = gumbel_softmax(logits, tau=0.7, hard=True).sum(0).long()
    assert same_p(ours, theirs) > 1e-4
    assert chi_square_p(ours, probabilities(logits[0])) > 1e-4


@pytest.mark.parametrize("tau", [0.5, 1.0, 4.0])
def test_relaxed_samples_of_two_categories_follow_their_distribution(tau: float) -> None:
    logits = torch.tensor([0.8, 0.0], dtype=torch.float64)
    y = gumbel_softmax(logits.expand(300_000, 2), tau, generator=seeded(1))[:, 0]
    assert uniform_p(relaxed_bernoulli_cdf(y, 0.8, tau)) > 1e-4


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("tau", [0.1, 1.0, 5.0])
@pytest.mark.parametrize(("shape", "dim"), [((4, 5), -1), ((5, 4), 0), ((3, 5, 2), 1), ((2, 3, 5), -2), ((5,), -1)])
def test_value_and_gradients(shape: tuple[int, ...], dim: int, tau: float, dtype: torch.dtype) -> None:
    """Against float64, given the noise; gradients are smaller than cotangent / tau and tau's sums 20 such terms."""
    generator = seeded(2)
    logits, temperature = leaf(torch.randn(shape, generator=generator), dtype), leaf(tau)
    cotangent = torch.randn(shape, generator=generator).to(dtype)
    sample = gumbel_softmax(logits, temperature, dim=dim, generator=seeded(3))
    sample.backward(cotangent)
    perturbed = logits.detach().double() + noise_of(logits, 3)
    value, to_logits, to_tau = softmax_sample(perturbed, temperature.item(), cotangent, dim)
    tolerance = TOLERANCE[dtype]
    assert (sample.dtype, logits.grad.dtype, temperature.grad.dtype) == (dtype, dtype, torch.float32)
    torch.testing.assert_close(sample.double(), value, rtol=0, atol=tolerance)
    torch.testing.assert_close(logits.grad.double(), to_logits, rtol=tolerance, atol=10 * tolerance / tau)
    torch.testing.assert_close(temperature.grad.double(), to_tau, rtol=1e-4, atol=1e-5 / tau**2)


@pytest.mark.parametrize("hard", [False, True])
def test_memory_layout_does_not_matter(hard: bool) -> None:
    base = torch.randn(5, 4, generator=seeded(4))
    transposed, plain = leaf(base), leaf(base.t().contiguous())
    for logits, view in ((transposed, transposed.t()), (plain, plain)):
        sample = gumbel_softmax(view, 0.5, hard=hard, generator=seeded(5))
        (sample * torch.arange(5)).sum().backward()
        assert sample.is_contiguous()
        assert logits.grad.any()
    assert torch.equal(transposed.grad.t(), plain.grad)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("tau", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("dim", [0, 1, -1, -2])
def test_hard_samples_are_one_hot_and_the_argmax_of_the_perturbed_logits(
    dim: int, tau: float, dtype: torch.dtype
) -> None:
    logits = torch.randn(50, 50, generator=seeded(6)).to(dtype)
    sample = gumbel_softmax(logits, tau, hard=True, dim=dim, generator=seeded(7))
    assert sample.dtype == dtype
    assert sample.unique().tolist() == [0, 1]
    assert (sample.sum(dim) == 1).all()
    assert torch.equal(sample.argmax(dim), gumbel_max(logits, dim=dim, generator=seeded(7)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_hard_samples_have_the_gradient_of_relaxed_ones(dtype: torch.dtype) -> None:
    gradients = []
    for hard in (False, True):
        logits, tau = leaf(torch.randn(20, 6, generator=seeded(8)), dtype), leaf(0.4)
        sample = gumbel_softmax(logits, tau, hard=hard, generator=seeded(9))
        sample.backward(torch.randn(20, 6, generator=seeded(10)).to(dtype))
        gradients.append((logits.grad, tau.grad))
    assert torch.equal(gradients[0][0], gradients[1][0])
    assert torch.equal(gradients[0][1], gradients[1][1])
    assert gradients[0][0].any()


@pytest.mark.parametrize("dim", [0, 1])
def test_gradcheck(dim: int) -> None:
    logits, tau = leaf(torch.randn(3, 4, generator=seeded(11)), torch.float64), leaf(0.7, torch.float64)

    def sample(logits: Tensor, tau: Tensor) -> Tensor:
        return gumbel_softmax(logits, tau, dim=dim, generator=seeded(12))

    assert torch.autograd.gradcheck(sample, (logits, tau))
    assert torch.autograd.gradgradcheck(sample, (logits, tau))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("hard", [False, True])
def test_many_categories_in_half_precision_at_a_low_temperature(hard: bool, dtype: torch.dtype) -> None:
    logits, tau = leaf(torch.randn(64, 8192, generator=seeded(13)), dtype), leaf(0.1)
    sample = gumbel_softmax(logits, tau, hard=hard, generator=seeded(14))
    (sample.float() * torch.randn(8192, generator=seeded(15))).sum().backward()
    assert logits.grad.isfinite().all()
    assert tau.grad.isfinite()
    assert logits.grad.any()
    torch.testing.assert_close(sample.double().sum(-1), torch.ones(64, dtype=torch.float64), rtol=0, atol=0.02)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("low", [-1e4, -torch.inf])
def test_extreme_and_masked_logits(low: float, hard: bool, dtype: torch.dtype) -> None:
    logits, tau = leaf([[1e4, low, 1e4], [low, 0.0, low], [0.0, 0.5, low]], dtype), leaf(0.1)
    cotangent = torch.tensor([0.5, -1.0, 2.0], dtype=dtype).expand(3, 3)
    sample = gumbel_softmax(logits, tau, hard=hard, generator=seeded(16))
    sample.backward(cotangent)
    hopeless = logits.detach() == low
    perturbed = logits.detach().double() + noise_of(logits, 16)
    _, to_logits, to_tau = softmax_sample(perturbed, tau.item(), cotangent)
    assert not sample[hopeless].any()
    assert not logits.grad[hopeless].any()
    # the noise is added to 1e4 in float32: 5e-4 off, which tau = 0.1 makes 5e-3 of the exponent
    torch.testing.assert_close(logits.grad.double(), to_logits, rtol=2e-2, atol=2e-2)
    assert tau.grad.isfinite()
    if low == -torch.inf and dtype == torch.float64:
        torch.testing.assert_close(tau.grad.double(), to_tau, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([math.nan, 0.0], r"1 of 2 rows .* 1 hold NaN, 0 hold \+inf, 0 are -inf"),
        ([math.inf, 0.0], r"1 of 2 rows .* 0 hold NaN, 1 hold \+inf, 0 are -inf"),
        ([-math.inf, -math.inf], r"1 of 2 rows .* 0 hold NaN, 0 hold \+inf, 1 are -inf"),
    ],
)
def test_rows_without_a_distribution(row: list[float], message: str, hard: bool, learnable: bool) -> None:
    logits, tau = torch.tensor([[0.0, 1.0], row]), torch.tensor(0.5, requires_grad=learnable)
    with pytest.raises(ValueError, match=message):
        gumbel_softmax(logits, tau, hard=hard)
    with pytest.raises(ValueError, match=message):
        gumbel_softmax(logits.t(), tau, hard=hard, dim=0)
    with pytest.raises(ValueError, match=message):
        softmax(logits, tau)


@pytest.mark.parametrize(
    ("tau", "message"),
    [
        (0.0, "tau must be positive and finite, got 0.0"),
        (-1.0, "got -1.0"),
        (math.nan, "got nan"),
        (math.inf, "got inf"),
        (torch.tensor(0.0), "got 0.0"),
        (torch.tensor(math.nan, requires_grad=True), "got nan"),
        (torch.ones(2), r"broadcasts to \(2, 1\), one temperature a row, .* got shape \(2,\)"),
    ],
)
def test_bad_temperatures(tau: float | Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gumbel_softmax(torch.zeros(2, 3), tau)
    with pytest.raises(ValueError, match=message):
        softmax(torch.zeros(2, 3), tau)


@pytest.mark.parametrize("tau", [2, 2.0, torch.tensor(2.0), torch.tensor(2.0, dtype=torch.float64)])
def test_the_temperature_is_a_number_or_a_0_dim_tensor(tau: float | Tensor) -> None:
    logits = torch.randn(3, 4, generator=seeded(17))
    sample = gumbel_softmax(logits, tau, generator=seeded(18))
    assert sample.dtype == torch.float32
    torch.testing.assert_close(sample, gumbel_softmax(logits, 2.0, generator=seeded(18)))


@pytest.mark.parametrize("hard", [False, True])
def test_one_category_and_nothing(hard: bool) -> None:
    assert torch.equal(gumbel_softmax(torch.zeros(3, 1), hard=hard), torch.ones(3, 1))
    assert gumbel_softmax(torch.zeros(0, 4), hard=hard).shape == (0, 4)
    with pytest.raises(ValueError, match="no category to choose from"):
        gumbel_softmax(torch.zeros(4, 0), hard=hard)


@pytest.mark.parametrize("hard", [False, True])
def test_a_generator_makes_samples_reproducible(hard: bool) -> None:
    logits, generator, before = torch.zeros(100, 7), seeded(19), torch.get_rng_state()
    first, second = (gumbel_softmax(logits, 0.5, hard=hard, generator=generator) for _ in range(2))
    assert torch.equal(gumbel_softmax(logits, 0.5, hard=hard, generator=seeded(19)), first)
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("hard", [False, True])
def test_autocast_changes_nothing(hard: bool) -> None:
    logits, tau = torch.randn(50, 20, generator=seeded(21)), torch.tensor(0.3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        sample = gumbel_softmax(logits, tau, hard=hard, generator=seeded(22))
    assert torch.equal(sample, gumbel_softmax(logits, tau, hard=hard, generator=seeded(22)))


def test_logits_are_left_as_they_are() -> None:
    logits = torch.randn(10, 4, generator=seeded(20))
    before = logits.clone()
    gumbel_softmax(logits, 0.5, hard=True)
    assert torch.equal(logits, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_hard_sample_can_be_changed_in_place_as_torch_s_can(dtype: torch.dtype) -> None:
    """The next layer may be an in-place activation or dropout."""
    logits = leaf(torch.zeros(4, 3), dtype)
    gumbel_softmax(logits, hard=True).mul_(torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert logits.grad.any()


@pytest.mark.parametrize("hard", [False, True])
def test_vmap_draws_for_each_example(hard: bool) -> None:
    logits = torch.tensor([0.5, -1.0, 0.0])

    def sample(logits: Tensor) -> Tensor:
        return gumbel_softmax(logits, 0.5, hard=hard)

    samples = torch.func.vmap(sample, randomness="different")(logits.expand(100_000, 3))
    torch.testing.assert_close(samples.sum(-1), torch.ones(100_000))
    assert chi_square_p(samples.argmax(-1).bincount(minlength=3), probabilities(logits)) > 1e-4


def test_vmap_of_grad_gives_each_example_its_gradient() -> None:
    def loss(logits: Tensor) -> Tensor:
        return gumbel_softmax(logits, 0.5)[0]

    gradients = torch.func.vmap(torch.func.grad(loss), randomness="different")(torch.zeros(64, 3))
    assert gradients.unique(dim=0).shape == (64, 3)
    torch.testing.assert_close(gradients.sum(-1), torch.zeros(64), rtol=0, atol=1e-5)


def gradient_of_mean_category(sample: Tensor, logits: Tensor) -> Tensor:
    (sample * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert logits.grad is not None
    return logits.grad


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles
@pytest.mark.parametrize(("hard", "backend"), [(False, "aot_eager"), (True, "aot_eager"), COMPILED])
def test_compiled_samples_are_distributed_as_plain_ones(hard: bool, backend: str) -> None:
    rows = torch.tensor([0.5, -1.0, 0.0]).expand(50_000, 3)
    logits, plain_logits, tau = leaf(rows), leaf(rows), leaf(0.5)
    torch.manual_seed(0)
    sample = torch.compile(gumbel_softmax, fullgraph=True, backend=backend)(logits, tau, hard=hard)
    gradient = gradient_of_mean_category(sample, logits)
    plain = gradient_of_mean_category(gumbel_softmax(plain_logits, 0.5, hard=hard), plain_logits)
    assert chi_square_p(sample.argmax(-1).bincount(minlength=3), probabilities(rows[0])) > 1e-4
    assert not hard or sample.unique().tolist() == [0, 1]
    error = ((gradient.var(0) + plain.var(0)) / len(rows)).sqrt()
    assert ((gradient.mean(0) - plain.mean(0)).abs() < 5 * error).all()
    assert tau.grad.isfinite()
    assert tau.grad != 0


CALLS_OF_TORCH: dict[str, Callable[..., Tensor]] = {
    "(x)": lambda f, x: f(x),
    "(x, 0.5)": lambda f, x: f(x, 0.5),
    "(x, 0.5, True)": lambda f, x: f(x, 0.5, True),
    "(x, 1.0, False, 1e-10, 0)": lambda f, x: f(x, 1.0, False, 1e-10, 0),
    "by name": lambda f, x: f(logits=x, tau=0.5, hard=True, eps=1e-6, dim=1),
    "hard=1": lambda f, x: f(x, hard=1),
    "tau (1,)": lambda f, x: f(x, tau=torch.tensor([0.5])),
    "tau (B, 1)": lambda f, x: f(x, tau=torch.linspace(0.3, 2, 6).unsqueeze(1)),
    "tau (1, K), dim=0": lambda f, x: f(x, torch.linspace(0.3, 2, 5).unsqueeze(0), dim=0),
}


@pytest.mark.filterwarnings("ignore:`eps` parameter is deprecated")  # torch's
@pytest.mark.parametrize("call", CALLS_OF_TORCH.values(), ids=CALLS_OF_TORCH)
def test_calls_of_torchs_function(call: Callable[..., Tensor]) -> None:
    logits = torch.randn(6, 5, generator=seeded(0))
    expected = call(torch.nn.functional.gumbel_softmax, logits)
    found = call(gumbel_softmax, logits)
    assert found.shape == expected.shape
    dim = 0 if not torch.allclose(expected.sum(1), torch.ones(6), atol=1e-5) else 1
    torch.testing.assert_close(found.sum(dim), expected.sum(dim))
    assert (found.unique().tolist() == [0, 1]) == (expected.unique().tolist() == [0, 1])
