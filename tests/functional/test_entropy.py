import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from discrete_lightning.functional import (
    binary_entropy,
    binary_kl_to_uniform,
    entropy,
    kl_divergence,
    kl_to_uniform,
    perplexity,
)
from tests.references import entropy as naive
from tests.references.inputs import seeded

INF = math.inf
ROWS = [
    [0.0],
    [0.0, 0.0, 0.0],
    [1.0, -2.0, 0.5, 3.0],
    [1e4, -1e4, 0.0],
    [60.0, 0.0],
    [-INF, 0.5, 0.0],
    [-INF, 0.5, -INF],
    [1e30, 0.0],
]
LOG_ODDS = [0.0, 1e-3, -0.5, 3.0, -20.0, 88.0, -104.0, 1e4, -1e4, INF, -INF]
PRIORS = [
    ([0.0, 0.0], [0.0, 0.0]),
    ([0.3, -1.0, 2.0], [0.0, 0.5, 0.0]),
    ([0.3, -1.0, 2.0], [5.3, 4.0, 7.0]),
    ([-INF, 0.0, 1.0], [0.0, 0.0, 0.0]),
    ([-INF, 0.0, 1.0], [-INF, 1.0, 0.0]),
    ([0.0, 0.0], [-INF, 0.0]),
    ([200.0, 0.0], [0.0, 0.0]),
]
CATEGORICAL = [
    entropy,
    kl_to_uniform,
    lambda logits, dim=-1: kl_divergence(logits, torch.zeros(()).expand_as(logits), dim),
]


@pytest.mark.parametrize("row", ROWS)
def test_entropy(row: list[float]) -> None:
    expected = naive.entropy(naive.softmax(row))
    assert entropy(torch.tensor(row)).item() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert entropy(torch.tensor(row, dtype=torch.float64)).item() == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("row", ROWS)
def test_kl_to_uniform(row: list[float]) -> None:
    expected = naive.kl(naive.softmax(row), [1 / len(row)] * len(row))
    assert kl_to_uniform(torch.tensor(row)).item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("log_odds", LOG_ODDS)
def test_binary_entropy_and_kl(log_odds: float) -> None:
    p = [naive.sigmoid(log_odds), naive.sigmoid(-log_odds)]
    value, divergence = binary_entropy(torch.tensor(log_odds)), binary_kl_to_uniform(torch.tensor(log_odds))
    assert value.item() == pytest.approx(naive.entropy(p), rel=1e-5, abs=1e-37)
    assert divergence.item() == pytest.approx(naive.kl(p, [0.5, 0.5]), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("logits", "prior"), PRIORS)
def test_kl_divergence(logits: list[float], prior: list[float]) -> None:
    expected = naive.kl(naive.softmax(logits), naive.softmax(prior))
    value = kl_divergence(torch.tensor(logits), torch.tensor(prior))
    assert value.item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_kl_divergence_broadcasts_the_prior() -> None:
    logits, prior = torch.randn(4, 3, 5, generator=seeded(0)), torch.tensor([0.0, 1, 2, 0, 1])
    expected = [
        [naive.kl(naive.softmax(row), naive.softmax(prior.tolist())) for row in rows] for rows in logits.tolist()
    ]
    torch.testing.assert_close(kl_divergence(logits, prior), torch.tensor(expected))


@pytest.mark.parametrize("function", CATEGORICAL)
@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2])
def test_any_dimension(function: Callable[..., Tensor], dim: int) -> None:
    logits = torch.randn(3, 4, 5, generator=seeded(1))
    torch.testing.assert_close(function(logits, dim=dim), function(logits.movedim(dim, -1)))


@pytest.mark.parametrize("function", [*CATEGORICAL, binary_entropy, binary_kl_to_uniform])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_computed_in_float32(function: Callable[..., Tensor], dtype: torch.dtype) -> None:
    logits = (5 * torch.randn(10, 300, generator=seeded(2))).to(dtype)
    assert function(logits).dtype == torch.float32
    assert torch.equal(function(logits), function(logits.float()))


@pytest.mark.parametrize("function", [*CATEGORICAL, binary_entropy, binary_kl_to_uniform])
def test_gradcheck(function: Callable[..., Tensor]) -> None:
    logits = torch.randn(3, 4, dtype=torch.float64, generator=seeded(3)).requires_grad_()
    assert torch.autograd.gradcheck(function, logits)


def test_gradcheck_of_kl_divergence_to_both_arguments() -> None:
    generator = seeded(4)
    p, q = (torch.randn(3, 4, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(kl_divergence, (p, q))


@pytest.mark.parametrize("function", CATEGORICAL)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("low", [-INF, -1e4])
def test_a_category_without_a_chance_gets_no_gradient(
    function: Callable[..., Tensor], dtype: torch.dtype, low: float
) -> None:
    logits = torch.tensor([[0.0, low, 1.0], [low, low, 0.0], [3.0, 0.0, low]], dtype=dtype, requires_grad=True)
    function(logits).sum().backward()
    assert logits.grad.isfinite().all()
    assert not logits.grad[logits.detach() == low].any()
    assert logits.grad[0, 0] != 0


def test_a_category_masked_on_both_sides_gets_no_gradient() -> None:
    logits, prior = (torch.tensor([-INF, x, 0.0], requires_grad=True) for x in (1.0, 2.0))
    kl_divergence(logits, prior).backward()
    assert logits.grad[0] == prior.grad[0] == 0
    assert logits.grad.isfinite().all()
    assert prior.grad.isfinite().all()
    assert prior.grad[1] > 0


@pytest.mark.parametrize("log_odds", LOG_ODDS)
def test_binary_gradients(log_odds: float) -> None:
    """dH/dlog-odds = -log-odds p (1 - p), and the divergence's is its negative where it is not rounded to 0."""
    for function, sign in ((binary_entropy, -1), (binary_kl_to_uniform, 1)):
        logits = torch.tensor(log_odds, requires_grad=True)
        function(logits).backward()
        finite = max(min(log_odds, 1e9), -1e9)
        expected = sign * finite * naive.sigmoid(log_odds) * naive.sigmoid(-log_odds)
        assert logits.grad.item() == pytest.approx(expected, rel=1e-4, abs=1e-37 if sign < 0 else 1e-3)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([5, 5, 0, 0], 2.0),
        ([7], 1.0),
        ([0, 9, 0], 1.0),
        ([1] * 1000, 1000.0),
        ([3, 1], naive.perplexity([3, 1])),
        ([10**12, 1, 1], naive.perplexity([10**12, 1, 1])),
        ([0, 0, 0], 0.0),
        ([0.25, 0.25, 0.5], naive.perplexity([0.25, 0.25, 0.5])),
        ([1e-30, 1e-30], 2.0),
    ],
)
def test_perplexity(counts: list[float], expected: float) -> None:
    value = perplexity(torch.tensor(counts))
    assert (value.dtype, value.shape) == (torch.float32, torch.Size([]))
    assert value.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_perplexity_of_several_codebooks(dtype: torch.dtype) -> None:
    counts = torch.tensor([[[5, 5, 0, 0], [0, 0, 0, 0]], [[1, 1, 1, 1], [0, 0, 0, 3]]], dtype=dtype)
    torch.testing.assert_close(perplexity(counts), torch.tensor([[2.0, 0.0], [4.0, 1.0]]))
