"""Against the enumeration of all subsets in float64. p-values are bounded by 1e-4, for seeds fixed in advance."""

import math

import pytest
import torch
from torch import Tensor

from discrete_lightning.functional import (
    conditional_bernoulli,
    log_elementary_symmetric,
    log_probability,
    subset_marginals,
)
from tests.references import subsets
from tests.references.goodness_of_fit import chi_square_p, sigmas
from tests.references.inputs import leaf, seeded

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
SIZES = [(2, 1), (3, 2), (5, 1), (5, 4), (6, 3), (7, 2), (8, 4), (8, 7)]
NOTED = torch.tensor([2.0, 1.0, 0.0, -1.0, 0.5])
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
each_size = pytest.mark.parametrize(("categories", "k"), SIZES)
each_scale = pytest.mark.parametrize("scale", [0.1, 1.0, 5.0, 50.0])


def probabilities(row: Tensor, k: int) -> Tensor:
    return subsets.conditional_bernoulli_log_probability(row, subsets.subsets(len(row), k)).exp()


def marginals(row: Tensor, k: int) -> Tensor:
    return probabilities(row, k) @ subsets.subsets(len(row), k)


def covariance(row: Tensor, k: int) -> Tensor:
    """Of the indicators: E[s s^T] - E[s] E[s]^T."""
    every, p = subsets.subsets(len(row), k), probabilities(row, k)
    centred = every - p @ every
    return centred.T @ (p.unsqueeze(1) * centred)


def some_logits(categories: int, scale: float) -> Tensor:
    return scale * torch.randn(6, categories, generator=seeded(categories))


@each_size
@each_scale
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_all_subsets(categories: int, k: int, scale: float, dtype: torch.dtype) -> None:
    """log e_k, its gradient, the marginals and their Jacobian."""
    logits = leaf(some_logits(categories, scale), dtype)
    tolerance = {"rtol": 1e-12, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 1e-6, "atol": 1e-6}
    log_e, mean = log_elementary_symmetric(logits, k), subset_marginals(logits, k)
    assert log_e.dtype == mean.dtype == dtype
    (slope,) = torch.autograd.grad(log_e.sum(), logits)
    jacobian = torch.stack(
        [torch.autograd.grad(mean[:, i].sum(), logits, retain_graph=True)[0] for i in range(categories)]
    )
    for n, row in enumerate(logits.detach()):
        wanted = subsets.log_elementary_symmetric(row, k)
        torch.testing.assert_close(log_e[n].double(), wanted, rtol=tolerance["rtol"], atol=10 * tolerance["atol"])
        torch.testing.assert_close(mean[n].double(), marginals(row, k), **tolerance)
        torch.testing.assert_close(slope[n].double(), marginals(row, k), **tolerance)
        torch.testing.assert_close(jacobian[:, n].double(), covariance(row, k), **tolerance)


@each_size
@each_scale
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_log_probability_of_all_subsets(categories: int, k: int, scale: float, dtype: torch.dtype) -> None:
    logits, every = leaf(some_logits(categories, scale)[0], dtype), subsets.subsets(categories, k)
    got = log_probability(logits, every.to(dtype), k=k, subsets="conditional_bernoulli")
    exact = leaf(logits.detach(), torch.float64)
    wanted = subsets.conditional_bernoulli_log_probability(exact, every)
    tolerance = {"rtol": 1e-11, "atol": 1e-11} if dtype == torch.float64 else {"rtol": 1e-5, "atol": 2e-6}
    torch.testing.assert_close(got.double(), wanted, **tolerance)
    weights = torch.randn(len(every), generator=seeded(1), dtype=torch.float64)
    one, other = (
        torch.autograd.grad((log_p.double() * weights).sum(), x)[0] for log_p, x in ((got, logits), (wanted, exact))
    )
    torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-4 if dtype == torch.float32 else 1e-10)


@each_size
def test_draws(categories: int, k: int) -> None:
    for seed, scale in ((2, 0.3), (3, 1.5)):
        row = scale * torch.randn(categories, generator=seeded(seed))
        draws = conditional_bernoulli(row.expand(30_000, -1), k, generator=seeded(seed))
        assert draws.unique().tolist() == [0, 1]
        assert (draws.sum(-1) == k).all()
        assert chi_square_p(subsets.counts(draws, k), probabilities(row, k)) > 1e-4


def test_the_two_distributions_of_subsets() -> None:
    """Inclusion with the same logits; a draw of one is not taken for a draw of the other."""
    every = subsets.subsets(5, 2)
    plackett_luce = subsets.subset_log_probability(NOTED, every).exp()
    for p, noted in (
        (plackett_luce, [0.854, 0.527, 0.207, 0.078, 0.334]),
        (probabilities(NOTED, 2), [0.797, 0.532, 0.228, 0.088, 0.356]),
    ):
        torch.testing.assert_close(p @ every, torch.tensor(noted, dtype=torch.float64), rtol=0, atol=6e-4)
    torch.testing.assert_close(subset_marginals(NOTED, 2).double(), probabilities(NOTED, 2) @ every, rtol=0, atol=1e-6)
    counts = subsets.counts(conditional_bernoulli(NOTED.expand(30_000, 5), 2, generator=seeded(4)), 2)
    assert chi_square_p(counts, probabilities(NOTED, 2)) > 1e-4
    assert chi_square_p(counts, plackett_luce) < 1e-10


@pytest.mark.parametrize("k", [1, 2])
def test_rare_categories_are_drawn_at_their_rate(k: int) -> None:
    """Twenty of weight 5e-6 beside k + 1 common ones: 5 sigma."""
    row = torch.tensor([0.0] * (k + 1) + [math.log(5e-6)] * 20)
    rate, count, generator = float(marginals(row, k)[k + 1 :].sum()), 0, seeded(5)
    for _ in range(20):
        count += int(conditional_bernoulli(row.expand(25_000, -1), k, generator=generator)[:, k + 1 :].sum())
    assert sigmas(count, 500_000, rate) < 5


@pytest.mark.parametrize("scale", [0.0, 1.0, 5.0, 50.0])
@pytest.mark.parametrize(("categories", "k"), [(784, 50), (784, 700), (50, 5), (3000, 3)])
def test_many_categories_in_float32(categories: int, k: int, scale: float) -> None:
    """float64 is compared with enumeration above."""
    logits, g = scale * torch.randn(4, categories, generator=seeded(6)), torch.randn(4, categories, generator=seeded(7))
    results = []
    for dtype in (torch.float32, torch.float64):
        x = leaf(logits, dtype)
        mean, log_e = subset_marginals(x, k), log_elementary_symmetric(x, k)
        mean.backward(g.to(dtype))
        results.append([each.detach().double() for each in (mean, x.grad, log_e)])
    (mean, slope, log_e), (exact_mean, exact_slope, exact_log_e) = results
    torch.testing.assert_close(mean, exact_mean, rtol=0, atol=2e-6)
    torch.testing.assert_close(slope, exact_slope, rtol=0, atol=2e-6)
    torch.testing.assert_close(log_e, exact_log_e, rtol=1e-6, atol=1e-7 * categories)
    torch.testing.assert_close(mean.sum(-1), torch.full((4,), float(k), dtype=torch.float64), rtol=1e-6, atol=0)
    draws = conditional_bernoulli(logits, k, generator=seeded(8))
    assert (draws.sum(-1) == k).all()


def test_equal_categories() -> None:
    logits = torch.full((784,), 3.0)
    log_e = subsets.log_binomial(784, 50) + 150
    assert float(log_elementary_symmetric(logits, 50)) == pytest.approx(log_e, rel=1e-6)
    torch.testing.assert_close(subset_marginals(logits, 50), torch.full((784,), 50 / 784))


def test_draws_of_many_categories_have_the_marginals() -> None:
    """And the variance of the number in one half: each within 5 sigma."""
    row, k, draws = torch.randn(200, generator=seeded(9)), 30, 20_000
    x = leaf(row, torch.float64)
    mean = subset_marginals(x, k)
    half = torch.zeros(200, dtype=torch.float64)
    half[::2] = 1.0
    (slope,) = torch.autograd.grad(mean, x, half)
    sample = conditional_bernoulli(row.expand(draws, -1), k, generator=seeded(10)).double()
    p = mean.detach()
    assert ((sample.mean(0) - p).abs() <= 5 * (p * (1 - p) / draws).sqrt()).all()
    in_half, variance = sample @ half, float(half @ slope)
    assert abs(float(in_half.var()) - variance) < 5 * variance * math.sqrt(2 / draws)


@each_dtype
@pytest.mark.parametrize("k", [1, 2])
def test_masks_and_huge_logits(dtype: torch.dtype, k: int) -> None:
    """What is masked has no chance and no gradient; logits that are far apart decide, those that are equal share."""
    inf = math.inf
    logits = leaf([[1e4, -1e4, 1e4, -inf, 1e4], [-inf, 0.5, -inf, 2.0, -inf], [-inf, -1e4, 0.0, 1.0, -inf]], dtype)
    mean, masked = subset_marginals(logits, k), logits.detach().isneginf()
    assert mean.dtype == dtype
    assert not mean[masked].any()
    torch.testing.assert_close(mean[0].float(), torch.tensor([1.0, 0, 1, 0, 1]) * k / 3, rtol=4e-3, atol=0)
    if k == 2:
        assert mean[1:].tolist() == [[0.0, 1, 0, 1, 0], [0.0, 0, 1, 1, 0]]
    draws = conditional_bernoulli(logits.expand(200, 3, 5), k, generator=seeded(11))
    assert draws.dtype == dtype
    assert not draws[:, masked].any()
    assert (draws.sum(-1) == k).all()
    (mean * torch.tensor([3.0, 1.0, -1.0, 2.0, 0.5], dtype=dtype)).sum().backward()
    log_e = log_elementary_symmetric(logits, k)
    (slope,) = torch.autograd.grad(log_e.sum(), logits)
    assert log_e.isfinite().all()
    torch.testing.assert_close(slope, mean.detach(), rtol=1e-2, atol=0)
    assert logits.grad.isfinite().all()
    assert not logits.grad[masked].any()


def test_the_largest_logits_of_float32() -> None:
    logits = leaf([[3e38, -3e38, 0.0, 3e38, 1e30], [-3e38, -3e38, -3e38, -math.inf, -3e38]])
    mean = subset_marginals(logits, 2)
    assert mean[0].tolist() == [1, 0, 0, 1, 0]
    torch.testing.assert_close(mean[1], torch.tensor([0.5, 0.5, 0.5, 0.0, 0.5]))
    mean.square().sum().backward()
    assert logits.grad.isfinite().all()


@each_dtype
def test_all_categories(dtype: torch.dtype) -> None:
    logits = leaf([[1.0, -2.0, 4.0]], dtype)
    mean = subset_marginals(logits, 3)
    (mean * torch.arange(3)).sum().backward()
    assert mean.tolist() == conditional_bernoulli(logits, 3).tolist() == [[1, 1, 1]]
    assert not logits.grad.any()
    (slope,) = torch.autograd.grad(log_elementary_symmetric(logits, 3).sum(), logits)
    assert slope.tolist() == [[1, 1, 1]]
    assert log_elementary_symmetric(logits, 3).tolist() == [3.0]
    assert log_probability(logits, torch.ones(1, 3), k=3, subsets="conditional_bernoulli").tolist() == [0]


def test_one_category_is_the_softmax() -> None:
    logits = torch.randn(5, 9, generator=seeded(12))
    torch.testing.assert_close(subset_marginals(logits, 1), logits.softmax(-1))
    torch.testing.assert_close(log_elementary_symmetric(logits, 1), logits.logsumexp(-1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_rounded_at_the_end_alone(dtype: torch.dtype) -> None:
    logits, g = (
        (2 * torch.randn(3, 60, generator=seeded(13))).to(dtype),
        torch.randn(3, 60, generator=seeded(14)).to(dtype),
    )
    results = []
    for x in (leaf(logits, dtype), leaf(logits)):
        mean = subset_marginals(x, 9)
        mean.backward(g.to(x.dtype))
        assert log_elementary_symmetric(x, 9).dtype == torch.float32
        results.append((mean.detach(), x.grad))
    for half, single in zip(*results, strict=True):
        assert half.dtype == dtype
        torch.testing.assert_close(half, single.to(dtype), rtol=1e-2, atol=1e-6)


def test_derivatives_of_any_order() -> None:
    logits = leaf(torch.randn(2, 6, generator=seeded(15)), torch.float64)
    assert torch.autograd.gradcheck(lambda x: subset_marginals(x, 3), logits)
    assert torch.autograd.gradgradcheck(lambda x: subset_marginals(x, 3), logits)
    assert torch.autograd.gradgradcheck(lambda x: log_elementary_symmetric(x, 3), logits)


def test_rows_of_masks_in_log_probability() -> None:
    """-inf where the subset is impossible, with a gradient of zero there."""
    logits, every = leaf([0.5, -math.inf, 1.0, -0.3]), subsets.subsets(4, 2).float()
    log_p = log_probability(logits, every, k=2, subsets="conditional_bernoulli")
    impossible = every[:, 1] > 0
    assert torch.equal(log_p.isneginf(), impossible)
    assert float(log_p.detach().exp().sum()) == pytest.approx(1.0)
    log_p[~impossible].sum().backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[1] == 0
    with pytest.raises(ValueError, match="subsets must be one of plackett_luce, conditional_bernoulli, got 'other'"):
        log_probability(torch.zeros(4), every, k=2, subsets="other")  # type: ignore[arg-type]


@pytest.mark.parametrize("function", [log_elementary_symmetric, subset_marginals, conditional_bernoulli])
def test_bad_input(function: object) -> None:
    assert callable(function)
    for k in (0, -1, 4):
        with pytest.raises(ValueError, match=f"k={k} of 3"):
            function(torch.zeros(2, 3), k)
    for row in ([math.nan, 0.0, 1.0], [math.inf, 0.0, 1.0], [-math.inf, 0.0, -math.inf]):
        for k in (2, 3):
            with pytest.raises(ValueError, match=f"1 of 2 rows of logits have no distribution over subsets of k={k}"):
                function(torch.tensor([[0.0, 1.0, 2.0], row]), k)
    with pytest.raises(ValueError, match="logits must be floating"):
        function(torch.zeros(2, 3, dtype=torch.int64), 2)


def test_shapes() -> None:
    for shape in ((4,), (0, 4), (2, 0, 4), (2, 3, 4)):
        logits = leaf(torch.zeros(shape))
        subset_marginals(logits, 2).square().sum().backward()
        assert logits.grad.shape == conditional_bernoulli(logits, 2).shape == shape
        assert log_elementary_symmetric(logits, 2).shape == shape[:-1]


def test_vmap_and_functional_derivatives() -> None:
    """One Jacobian a row, by reverse mode, is the covariance; a matrix of logits maps as its rows."""
    logits = torch.randn(3, 7, generator=seeded(16))
    jacobians = torch.func.vmap(torch.func.jacrev(lambda row: subset_marginals(row, 3)))(logits)
    torch.testing.assert_close(
        jacobians.double(), torch.stack([covariance(row, 3) for row in logits]), rtol=0, atol=1e-6
    )
    mapped = torch.func.vmap(lambda row: log_elementary_symmetric(row, 3))(logits)
    torch.testing.assert_close(mapped, log_elementary_symmetric(logits, 3))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles
def test_compiled() -> None:
    torch.compiler.reset()
    compiled = torch.compile(lambda x: subset_marginals(x, 3), fullgraph=True, backend="aot_eager")
    for size in (4, 7):
        one, other = (leaf(torch.randn(size, 9, generator=seeded(17))) for _ in range(2))
        for function, x in ((compiled, one), (lambda x: subset_marginals(x, 3), other)):
            function(x).square().sum().backward()
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)
