"""Intervals are 5 sigma (6e-7), for seeds fixed in advance."""

import math
import sys

import pytest
import torch

from discrete_lightning.functional import antithetic_bernoulli, disarm
from tests.references import estimators as reference
from tests.references.goodness_of_fit import sigmas
from tests.references.inputs import leaf, seeded

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
MODULE = sys.modules["discrete_lightning.functional.disarm"]


@pytest.mark.parametrize("logit", [-9.2, -2.0, 0.0, 0.7, 5.0])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_both_of_a_pair_have_the_rate_and_differ_as_often_as_they_can(logit: float, dtype: torch.dtype) -> None:
    draws = 400_000
    logits = torch.full((draws,), logit).to(dtype)
    first, second = antithetic_bernoulli(logits, generator=seeded(1))
    assert first.dtype == dtype
    assert set(first.tolist()) | set(second.tolist()) <= {0.0, 1.0}
    p = 1 / (1 + math.exp(-float(logits[0])))
    for draw in (first, second):
        assert sigmas(float(draw.double().sum()), draws, p) < 5
    if logit:
        assert sigmas(int((first != second).sum()), draws, 2 * min(p, 1 - p)) < 5
    else:
        assert int((first == second).sum()) <= 1
    equal = first[first == second]
    assert (equal == (1.0 if logit > 0 else 0.0)).all()


def test_the_generator_decides() -> None:
    logits, state = torch.zeros(200, 3), torch.get_rng_state()
    first, again, other = (antithetic_bernoulli(logits, generator=seeded(seed)) for seed in (2, 2, 3))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("u", [0.0, 0.5, 1 - 2.0**-24])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_infinite_log_odds_are_sure_at_the_ends_of_the_noise(
    u: float, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "uniform", lambda shape, dtype, **_: torch.full(shape, u, dtype=dtype))
    pair = antithetic_bernoulli(torch.tensor([-math.inf, math.inf], dtype=dtype))
    assert pair.tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("event", [(), (1,), (5,), (2, 3)])
def test_value_and_gradient(event: tuple[int, ...], dtype: torch.dtype) -> None:
    logits = leaf(torch.randn(30, *event, generator=seeded(4)), dtype)
    pair = antithetic_bernoulli(logits, generator=seeded(5))
    losses = torch.randn(2, 30, generator=seeded(6), dtype=torch.float64)
    result = disarm(losses, pair, logits)
    assert result.shape == (30,)
    torch.testing.assert_close(result.double(), losses.mean(0), rtol=1e-6, atol=1e-6)
    result.sum().backward()
    flat, (first, second) = logits.detach().double().view(30, -1), pair.long().view(2, 30, -1)
    exact = [
        reference.disarm(*losses[:, row].tolist(), first[row].tolist(), second[row].tolist(), flat[row].tolist())
        for row in range(30)
    ]
    tolerance = {torch.float64: 1e-6, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}[dtype]
    got = logits.grad.double().view(30, -1)
    torch.testing.assert_close(got, torch.tensor(exact, dtype=torch.float64), rtol=tolerance, atol=tolerance)


def test_the_losses_get_the_gradient_of_their_mean() -> None:
    losses = torch.randn(2, 3, generator=seeded(7), requires_grad=True)
    logits = torch.zeros(3, 4)
    disarm(losses, antithetic_bernoulli(logits, generator=seeded(8)), logits).sum().backward()
    assert torch.equal(losses.grad, torch.full((2, 3), 0.5))


def test_sure_choices_get_no_gradient_and_leave_the_loss_finite() -> None:
    logits = leaf([[-math.inf, math.inf, 0.3], [1e4, -1e4, -0.2]])
    pair = antithetic_bernoulli(logits, generator=seeded(9))
    loss = disarm(torch.tensor([[1.0, 2.0], [3.0, 5.0]]), pair, logits)
    torch.testing.assert_close(loss.detach(), torch.tensor([2.0, 3.5]))
    loss.sum().backward()
    assert logits.grad.isfinite().all()
    assert not logits.grad[:, :2].any()


def test_nan_log_odds() -> None:
    with pytest.raises(ValueError, match="1 of 2 Bernoulli logits are NaN"):
        antithetic_bernoulli(torch.tensor([0.0, math.nan]))
