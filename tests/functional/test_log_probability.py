"""Against torch.distributions, and against the sum over all orders."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from discrete_lightning.functional import gumbel_top_k, log_probability
from tests.references import subsets
from tests.references.inputs import leaf, seeded

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def value_and_gradient(log_p: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    weights = torch.randn(log_p.shape, generator=seeded(9), dtype=torch.float64)
    return log_p.detach().double(), torch.autograd.grad((log_p.double() * weights).sum(), logits)[0].double()


@each_dtype
def test_categories(dtype: torch.dtype) -> None:
    logits = leaf(3 * torch.randn(4, 5, generator=seeded(0)), dtype)
    sample = torch.nn.functional.one_hot(torch.randint(5, (7, 4), generator=seeded(1)), 5).to(dtype)
    got = log_probability(logits, sample)
    assert got.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    exact = leaf(logits.detach(), torch.float64)
    wanted = torch.distributions.OneHotCategorical(logits=exact).log_prob(sample.double())
    tolerance = 1e-9 if dtype == torch.float64 else 1e-5
    for one, other in zip(value_and_gradient(got, logits), value_and_gradient(wanted, exact), strict=True):
        rounding = tolerance if one.shape == got.shape or dtype not in DTYPES[2:] else 2e-2
        torch.testing.assert_close(one, other, rtol=rounding, atol=rounding)


@each_dtype
def test_binary_values(dtype: torch.dtype) -> None:
    logits = leaf(3 * torch.randn(4, 5, generator=seeded(2)), dtype)
    sample = torch.randint(2, (7, 4, 5), generator=seeded(3)).to(dtype)
    exact = leaf(logits.detach(), torch.float64)
    got = log_probability(logits, sample, binary=True)
    wanted = torch.distributions.Bernoulli(logits=exact).log_prob(sample.double())
    assert got.shape == sample.shape
    for one, other in zip(value_and_gradient(got, logits), value_and_gradient(wanted, exact), strict=True):
        rounding = 2e-2 if one.shape == logits.shape and dtype in DTYPES[2:] else 1e-5
        torch.testing.assert_close(one, other, rtol=rounding, atol=rounding)


@pytest.mark.parametrize(("categories", "k"), [(4, 1), (5, 2), (6, 3), (7, 5), (6, 5)])
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0, 25.0])
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_subsets(categories: int, k: int, scale: float, dtype: torch.dtype) -> None:
    """All of them, with the gradient of each."""
    logits = leaf(scale * torch.randn(categories, generator=seeded(categories)), dtype)
    samples, exact = subsets.subsets(categories, k), leaf(logits.detach(), torch.float64)
    got, wanted = log_probability(logits, samples.to(dtype), k=k), subsets.subset_log_probability(exact, samples)
    tolerance = {"rtol": 1e-6, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 1e-10, "atol": 1e-10}
    for one, other in zip(value_and_gradient(got, logits), value_and_gradient(wanted, exact), strict=True):
        torch.testing.assert_close(one, other, **tolerance)


@pytest.mark.parametrize(("categories", "k"), [(30, 15), (200, 8), (200, 100), (200, 199), (1000, 300), (50, 50)])
def test_large_subsets_of_equal_categories(categories: int, k: int) -> None:
    """All C(K, k) subsets are equally likely; the gradient sums to 0, and has one value for all that are chosen."""
    logits = torch.zeros(categories, dtype=torch.float64, requires_grad=True)
    sample = torch.zeros(categories, dtype=torch.float64)
    sample[gumbel_top_k(logits, k, generator=seeded(4))] = 1.0
    exact = -subsets.log_binomial(categories, k)
    got = log_probability(logits, sample, k=k)
    assert float(got.detach()) == pytest.approx(exact, rel=1e-9, abs=1e-9)
    assert float(log_probability(logits.detach().float(), sample, k=k)) == pytest.approx(exact, rel=2e-6, abs=2e-5)
    (gradient,) = torch.autograd.grad(got, logits)
    assert abs(float(gradient.sum())) < 1e-8
    assert float(gradient[sample > 0].std()) < 1e-9


def test_probabilities_of_subsets_sum_to_one() -> None:
    logits = torch.randn(3, 8, generator=seeded(5))
    every = subsets.subsets(8, 3).float().unsqueeze(1).expand(-1, 3, 8)
    torch.testing.assert_close(log_probability(logits, every, k=3).exp().sum(0), torch.ones(3), rtol=0, atol=2e-5)


@pytest.mark.parametrize("k", [None, 2])
@each_dtype
def test_masked_categories(dtype: torch.dtype, k: int | None) -> None:
    """-inf where the sample is impossible; the gradient is finite, and 0 at the mask."""
    logits = leaf([[0.5, -math.inf, 1.0, -0.3], [0.5, -math.inf, 1.0, -math.inf]], dtype)
    samples = subsets.subsets(4, k or 1).to(dtype).unsqueeze(1).expand(-1, 2, 4)
    log_p = log_probability(logits, samples, k=k)
    impossible = (samples.bool() & logits.isneginf()).any(-1)
    assert torch.equal(log_p.isneginf(), impossible)
    torch.testing.assert_close(log_p.exp().sum(0), torch.ones_like(log_p[0]), rtol=0, atol=2e-5)
    log_p[~impossible].sum().backward()
    assert logits.grad.isfinite().all()
    assert not logits.grad[logits.detach().isneginf()].any()
    logits.grad = None
    log_probability(logits, samples, k=k).exp().sum().backward()  # through the impossible ones, too
    assert logits.grad.isfinite().all()


def test_sure_binary_values() -> None:
    logits = leaf([math.inf, -math.inf, 1e4, -1e4])
    for sample, wanted in (([1.0, 0, 1, 0], [0.0] * 4), ([0.0, 1, 0, 1], [-math.inf, -math.inf, -1e4, -1e4])):
        log_p = log_probability(logits, torch.tensor(sample), binary=True)
        assert log_p.tolist() == wanted
        assert torch.autograd.grad(log_p.exp().sum(), logits, retain_graph=True)[0].isfinite().all()
        assert not torch.autograd.grad(log_p[:2].sum(), logits)[0].any()


def test_bad_arguments() -> None:
    logits = torch.zeros(2, 4)
    for sample, arguments, message in (
        (torch.zeros(2, 4), {"binary": True, "k": 2}, "either binary or a subset of k=2"),
        (torch.zeros(2, 3), {}, r"got \(2, 3\) for logits of shape \(2, 4\)"),
        (torch.zeros(4), {}, r"got \(4,\) for"),
        (torch.zeros(2, 4), {"k": 5}, "k=5 of 4"),
        (torch.zeros(2, 4), {"k": 0}, "k=0 of 4"),
    ):
        with pytest.raises(ValueError, match=message):
            log_probability(logits, sample, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="logits must be floating"):
        log_probability(torch.zeros(3, dtype=torch.int64), torch.zeros(3))


@pytest.mark.parametrize(
    ("sample", "arguments", "message"),
    [
        ([1.0, 1.0, 0.0], {}, "each sample has 1 entries of 1"),
        ([0.0, 0.0, 0.0], {}, "each sample has 1 entries of 1"),
        ([1.0, 1.0, 1.0], {"k": 2}, "each sample has 2 entries of 1"),
        ([0.7, 0.3, 0.0], {}, "a relaxed one has no probability"),
        ([1.2, 0.8, 0.0], {"k": 2}, "a relaxed one has no probability"),
        ([0.6, 1.0, 0.0], {"binary": True}, "a relaxed one has no probability"),
    ],
)
def test_what_is_no_sample(sample: list[float], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        log_probability(torch.zeros(3), torch.tensor(sample), **arguments)


def test_gradcheck_of_subsets() -> None:
    logits, sample = leaf(torch.randn(2, 6, generator=seeded(6)), torch.float64), subsets.subsets(6, 3)[[4, 11]]
    assert torch.autograd.gradcheck(lambda x: log_probability(x, sample, k=3), logits)
