"""The clipped losses of PPO against loops of Python's floats: values and gradients."""

import pytest
import torch
from torch import Tensor

from discrete_lightning.control.ppo import clipped_value_loss, ppo_clip
from tests.references.advantages import naive_ppo_terms, naive_value_terms


def _rows(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    new, old, aim = (torch.randn(5, 40, generator=generator, dtype=torch.float64) * 0.4 - 1 for _ in range(3))
    return new.to(dtype), old.to(dtype), (aim + 1).to(dtype), torch.rand(5, 40, generator=generator) < 0.8


@pytest.mark.parametrize("clip", [0.0, 0.1, 0.3, 5.0])
@pytest.mark.parametrize("masked", [False, True])
def test_the_policy_loss_is_that_of_a_loop(clip: float, masked: bool) -> None:
    new, old, a, mask = _rows()
    new.requires_grad_()
    loss = ppo_clip(new, old, a, clip, mask=mask if masked else None)
    loss.backward()
    counted = mask if masked else torch.ones_like(mask)
    terms, slopes = naive_ppo_terms((new - old).exp().flatten().tolist(), a.flatten().tolist(), clip)
    weights = (counted.double() / counted.sum()).flatten()
    assert loss.item() == pytest.approx(float(torch.tensor(terms, dtype=torch.float64) @ weights), abs=1e-12)
    expected = torch.tensor(slopes, dtype=torch.float64) * weights
    assert new.grad is not None
    torch.testing.assert_close(new.grad.flatten(), expected, atol=1e-12, rtol=1e-12)


def test_the_gradient_stops_in_one_direction_only() -> None:
    log_rho = torch.tensor([0.5, -0.5, 0.5, -0.5], requires_grad=True)
    ppo_clip(log_rho, torch.zeros(4), torch.tensor([1.0, 1.0, -1.0, -1.0]), 0.2).backward()
    assert log_rho.grad is not None
    # more likely by enough; less likely, and should be more; more likely, and should be less; less likely by enough
    assert (log_rho.grad == 0).tolist() == [True, False, False, True]
    assert log_rho.grad[1] < 0 < log_rho.grad[2]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("clip", [0.1, 0.3])
def test_the_value_loss_is_that_of_a_loop(clip: float, masked: bool) -> None:
    values, old, targets, mask = _rows()
    values.requires_grad_()
    loss = clipped_value_loss(values, old, targets, clip, mask=mask if masked else None)
    loss.backward()
    counted = mask if masked else torch.ones_like(mask)
    terms, slopes = naive_value_terms(*(each.flatten().tolist() for each in (values, old, targets)), clip)
    weights = (counted.double() / counted.sum()).flatten()
    assert loss.item() == pytest.approx(float(torch.tensor(terms, dtype=torch.float64) @ weights), abs=1e-12)
    assert values.grad is not None
    expected = torch.tensor(slopes, dtype=torch.float64) * weights
    torch.testing.assert_close(values.grad.flatten(), expected, atol=1e-12, rtol=1e-12)


def test_bfloat16_is_computed_in_float32() -> None:
    narrow = list(_rows(torch.bfloat16)[:3])
    wide = [each.float() for each in narrow]
    for function in (ppo_clip, clipped_value_loss):
        loss = function(*narrow, 0.2)
        assert loss.dtype == torch.float32
        assert torch.equal(loss, function(*wide, 0.2))


def test_what_does_not_count_may_be_anything() -> None:
    new, old, a, mask = _rows()
    bad = [torch.where(mask, each, torch.nan).requires_grad_() for each in (new, old, a)]
    for function in (ppo_clip, clipped_value_loss):
        loss = function(*bad, 0.2, mask=mask)
        (slope,) = torch.autograd.grad(loss, bad[0])
        assert loss.item() == pytest.approx(function(new, old, a, 0.2, mask=mask).item())
        assert bool(slope.isfinite().all())
        assert not slope[~mask].any()


def test_nothing_counted_is_zero() -> None:
    new, old, a, mask = _rows()
    assert ppo_clip(new, old, a, mask=torch.zeros_like(mask)).item() == 0


@pytest.mark.parametrize("function", [ppo_clip, clipped_value_loss])
def test_bad_input_is_refused(function: object) -> None:
    assert callable(function)
    row = torch.zeros(3)
    with pytest.raises(ValueError, match="one shape"):
        function(row, row[:2], row, 0.2)
    with pytest.raises(ValueError, match="clip is 0 or more"):
        function(row, row, row, -0.1)
    with pytest.raises(ValueError, match="mask is bool"):
        function(row, row, row, 0.2, mask=row)
    with pytest.raises(ValueError, match="mask is bool"):
        function(row, row, row, 0.2, mask=row[:2] > 0)
