"""Every p-value bound below is 1e-4 and every interval 5 standard deviations (6e-7), for seeds fixed in advance."""

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from discrete_lightning.functional import (
    _checks,
    categorical_one_hot,
    exponential_noise,
    gumbel_max,
    gumbel_noise,
    gumbel_sigmoid,
    gumbel_softmax,
)
from tests.references.goodness_of_fit import chi_square_p, count, sigmas, uniform_p
from tests.references.gumbel import gumbel_cdf, probabilities
from tests.references.inputs import seeded

HALF_AND_FULL = [torch.float32, torch.bfloat16, torch.float16]
EULER_GAMMA = 0.5772156649015329


class Summary(NamedTuple):
    draws: int
    finite: bool
    smallest: float
    largest: float
    mean: float
    variance: float
    above_13: int


@pytest.fixture(scope="module")
def gumbels() -> Summary:
    """10^8 draws, of which only a block at a time is held."""
    generator, blocks, size = seeded(), 200, 500_000
    rows = []
    for _ in range(blocks):
        noise = gumbel_noise((size,), generator=generator)
        variance, mean = torch.var_mean(noise, correction=0)
        rows.append([noise.min(), noise.max(), mean, variance + mean**2, (noise > 13).sum(), noise.isfinite().all()])
    table = torch.tensor(rows, dtype=torch.float64)
    mean = float(table[:, 2].mean())
    return Summary(
        draws=blocks * size,
        finite=bool(table[:, 5].all()),
        smallest=float(table[:, 0].min()),
        largest=float(table[:, 1].max()),
        mean=mean,
        variance=float(table[:, 3].mean()) - mean**2,
        above_13=int(table[:, 4].sum()),
    )


def test_gumbel_noise_is_finite_and_bounded_as_documented(gumbels: Summary) -> None:
    assert gumbels.finite
    assert -2.8 <= gumbels.smallest <= -2.7
    assert gumbels.largest <= 22.2


def test_gumbel_noise_passes_the_cap_of_a_24_bit_uniform(gumbels: Summary) -> None:
    assert gumbels.largest > 16.7  # 0.4 % of seeds have no such draw


def test_gumbel_noise_has_the_tail_of_the_distribution(gumbels: Summary) -> None:
    assert sigmas(gumbels.above_13, gumbels.draws, 1 - gumbel_cdf(13)) < 5


def test_gumbel_noise_has_the_moments_of_the_distribution(gumbels: Summary) -> None:
    variance = math.pi**2 / 6
    assert abs(gumbels.mean - EULER_GAMMA) < 5 * math.sqrt(variance / gumbels.draws)
    # the variance of the sample variance: (kurtosis - 1) variance^2 / n, and a Gumbel's kurtosis is 5.4
    assert abs(gumbels.variance - variance) < 5 * variance * math.sqrt(4.4 / gumbels.draws)


def test_gumbel_noise_follows_the_distribution() -> None:
    noise = gumbel_noise((1_000_000,), generator=seeded(1)).double()
    assert uniform_p(torch.exp(-torch.exp(-noise))) > 1e-4


def test_exponential_noise_follows_the_distribution() -> None:
    noise = exponential_noise((1_000_000,), generator=seeded(2))
    assert uniform_p(-torch.expm1(-noise.double())) > 1e-4
    assert 2.3e-10 <= noise.min() <= noise.max() <= 16


def test_gumbel_noise_is_minus_the_log_of_exponential_noise() -> None:
    exponential = exponential_noise((1000,), generator=seeded(3))
    torch.testing.assert_close(gumbel_noise((1000,), generator=seeded(3)), -exponential.log())


def test_neighbours_in_a_draw_are_independent() -> None:
    u = torch.exp(-torch.exp(-gumbel_noise((1_000_001,), generator=seeded(4)).double())) - 0.5
    for lag in (1, 2, 3):
        products = u[lag:] * u[:-lag] * 12
        assert abs(products.mean()) < 5 / math.sqrt(len(products))


@pytest.mark.parametrize("draw", [gumbel_noise, exponential_noise])
@pytest.mark.parametrize(
    "shape", [(), (0,), (0, 3), (3, 0), (1,), (3,), (7, 5, 3), (2**18 + 1,), (2**18 - 1,), (2, 2**18)]
)
def test_noise_of_every_shape(draw: Callable[..., Tensor], shape: tuple[int, ...]) -> None:
    noise = draw(shape, generator=seeded())
    assert (noise.shape, noise.dtype) == (torch.Size(shape), torch.float32)
    assert noise.isfinite().all()
    # every element is written, and no block repeats another; 1 % of 2^19 float32 numbers between -2 and 10 are equal
    assert noise.unique().numel() >= 0.97 * noise.numel()


@pytest.mark.parametrize("position", [0, 1, 2])
def test_an_odd_number_of_draws_follows_the_distribution(position: int) -> None:
    generator = seeded(5)
    noise = torch.stack([gumbel_noise((3,), generator=generator) for _ in range(3000)])[:, position]
    assert uniform_p(torch.exp(-torch.exp(-noise.double()))) > 1e-4


@pytest.mark.parametrize("dtype", [torch.float64, *HALF_AND_FULL])
def test_noise_is_drawn_in_float32_and_then_cast(dtype: torch.dtype) -> None:
    noise = gumbel_noise((1_000_000,), dtype=dtype, generator=seeded(6))
    assert noise.dtype == dtype
    assert torch.equal(noise, gumbel_noise((1_000_000,), generator=seeded(6)).to(dtype))
    assert noise.isfinite().all()


@pytest.mark.parametrize("dtype", HALF_AND_FULL, ids=str)
@pytest.mark.parametrize(("categories", "draws"), [(2, 4_000_000), (5, 2_000_000), (50, 400_000), (1000, 100_000)])
def test_gumbel_max_is_exact(categories: int, draws: int, dtype: torch.dtype) -> None:
    generator = seeded(categories)
    logits = (2 * torch.randn(categories, generator=generator)).to(dtype)

    def draw(size: int) -> Tensor:
        return gumbel_max(logits.expand(size, categories), generator=generator)

    counts = count(draw, categories, draws, block=1 + 500_000 // categories)
    assert chi_square_p(counts, probabilities(logits)) > 1e-4


@pytest.mark.parametrize("dtype", HALF_AND_FULL, ids=str)
@pytest.mark.parametrize("rare", [1e-5, 1e-6])
def test_rare_events_come_at_their_rate(rare: float, dtype: torch.dtype) -> None:
    """Of 10 rare categories beside a common one: about 1,000 events at 1e-5 and 100 at 1e-6 in 10^7 draws."""
    logits = torch.tensor([0.0] + [math.log(rare)] * 10).to(dtype)
    generator, draws = seeded(7), 10_000_000

    def draw(size: int) -> Tensor:
        return gumbel_max(logits.expand(size, 11), generator=generator)

    counts = count(draw, 11, draws, block=50_000)
    assert sigmas(int(counts[1:].sum()), draws, float(probabilities(logits)[1:].sum())) < 5


@pytest.mark.parametrize("dtype", HALF_AND_FULL, ids=str)
def test_a_masked_category_is_never_drawn(dtype: torch.dtype) -> None:
    logits = torch.tensor([-torch.inf, 0.5, -torch.inf, -1.0, 0.0], dtype=dtype)
    counts = gumbel_max(logits.expand(400_000, 5), generator=seeded(8)).bincount(minlength=5)
    assert counts[0] == counts[2] == 0
    assert chi_square_p(counts, probabilities(logits)) > 1e-4


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2, -3])
def test_gumbel_max_along_any_dimension(dim: int) -> None:
    chosen = torch.randint(4, (4, 4), generator=seeded(9))
    logits = torch.full((4, 4, 4), -torch.inf).scatter_(dim, chosen.unsqueeze(dim), 0.0)
    assert torch.equal(gumbel_max(logits, dim=dim), chosen)
    assert torch.equal(gumbel_max(logits.transpose(0, 2).contiguous().transpose(0, 2), dim=dim), chosen)


@pytest.mark.parametrize("dtype", HALF_AND_FULL, ids=str)
def test_gumbel_max_takes_unnormalised_logits(dtype: torch.dtype) -> None:
    """Noise added to 100 in half precision would be rounded to 1/16 or 1/2, and its ties go to the first category."""
    logits = torch.tensor([100.0] * 10 + [99.0] * 6, dtype=dtype)
    counts = gumbel_max(logits.expand(400_000, 16), generator=seeded(10)).bincount(minlength=16)
    assert chi_square_p(counts, probabilities(logits)) > 1e-4


@pytest.mark.parametrize(
    ("shape", "dim", "expected"), [((1,), 0, ()), ((7, 1), -1, (7,)), ((0, 5), -1, (0,)), ((2, 3, 0), 1, (2, 0))]
)
def test_gumbel_max_of_one_category_and_of_nothing(shape: tuple[int, ...], dim: int, expected: tuple[int, ...]) -> None:
    index = gumbel_max(torch.zeros(shape), dim=dim)
    assert (index.shape, index.dtype) == (torch.Size(expected), torch.int64)
    assert not index.any()


@pytest.mark.parametrize("shape", [(3, 0), (0, 0)])
def test_gumbel_max_needs_a_category(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"no category to choose from: logits of shape \(\d, 0\), dim -1"):
        gumbel_max(torch.zeros(shape))


def test_a_generator_makes_draws_reproducible_and_independent_of_the_default_one() -> None:
    logits, generator, before = torch.zeros(1000, 7), seeded(11), torch.get_rng_state()
    state = generator.get_state()
    first, second = gumbel_max(logits, generator=generator), gumbel_max(logits, generator=generator)
    generator.set_state(state)
    assert torch.equal(gumbel_max(logits, generator=generator), first)
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_default_generator_is_used_without_one() -> None:
    torch.manual_seed(12)
    first = gumbel_noise((5,))
    torch.manual_seed(12)
    assert torch.equal(gumbel_noise((5,)), first)


@pytest.mark.parametrize("dtype", [torch.float64, *HALF_AND_FULL], ids=str)
@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([math.nan, 0.0], r"1 of 3 rows .* 1 hold NaN, 0 hold \+inf, 0 are -inf"),
        ([0.0, math.inf], r"1 of 3 rows .* 0 hold NaN, 1 hold \+inf, 0 are -inf"),
        ([math.inf, math.inf], r"1 of 3 rows .* 0 hold NaN, 1 hold \+inf, 0 are -inf"),
        ([-math.inf, -math.inf], r"1 of 3 rows .* 0 hold NaN, 0 hold \+inf, 1 are -inf"),
    ],
)
def test_rows_without_a_distribution_are_counted(row: list[float], message: str, dtype: torch.dtype) -> None:
    logits = torch.tensor([[0.0, 1.0], row, [0.0, -math.inf]], dtype=dtype)
    with pytest.raises(ValueError, match=message):
        gumbel_max(logits)
    with pytest.raises(ValueError, match=message):
        gumbel_max(logits.t(), dim=0)


def test_gumbel_max_sends_no_gradient() -> None:
    assert not gumbel_max(torch.zeros(3, 2, requires_grad=True)).requires_grad


def test_gumbel_max_under_vmap_draws_for_each_example() -> None:
    logits = torch.tensor([0.5, -1.0, 0.0])
    index = torch.func.vmap(gumbel_max, randomness="different")(logits.expand(100_000, 3))
    assert chi_square_p(index.bincount(minlength=3), probabilities(logits)) > 1e-4


@pytest.mark.parametrize("dtype", [torch.float64, *HALF_AND_FULL], ids=str)
@pytest.mark.parametrize("dim", [0, 1, -1, -2])
def test_categorical_one_hot_is_gumbel_max_as_vectors(dim: int, dtype: torch.dtype) -> None:
    logits = torch.randn(6, 6, generator=seeded(13)).to(dtype).requires_grad_()
    sample = categorical_one_hot(logits, dim=dim, generator=seeded(14))
    index = gumbel_max(logits, dim=dim, generator=seeded(14))
    assert sample.dtype == dtype
    assert not sample.requires_grad
    assert torch.equal(sample, torch.nn.functional.one_hot(index, 6).movedim(-1, dim).to(dtype))


@pytest.mark.parametrize("row", [[math.nan, 0.0], [math.inf, 0.0], [-math.inf, -math.inf]])
def test_a_row_without_a_distribution_never_gives_a_one_hot_vector(
    row: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on an accelerator, where values are not checked."""
    monkeypatch.setattr(_checks, "values_can_be_read", lambda x: False)
    sample = categorical_one_hot(torch.tensor([[0.0, -math.inf], row]))
    assert sample[0].tolist() == [1, 0]
    assert sample[1].isnan().any()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles
@pytest.mark.parametrize("draw", [gumbel_max, gumbel_softmax, gumbel_sigmoid])
def test_compiled_draws_for_batches_of_several_sizes(draw: Callable[[Tensor], Tensor]) -> None:
    """The second size makes torch.compile use a dynamic size: the last batch of an epoch is often a smaller one."""
    torch.compiler.reset()
    compiled = torch.compile(draw, fullgraph=True, backend="aot_eager")
    for size in (6, 4, 3):
        logits = torch.zeros(size, 2)
        assert compiled(logits).shape == draw(logits).shape
