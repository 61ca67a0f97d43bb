import math

import pytest
import torch

from discrete_lightning.functional import gapped_straight_through
from tests.references import estimators as reference
from tests.references.inputs import leaf, seeded

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("gap", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("tau", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("learnable", [False, True])
def test_the_gradient_of_each_draw(tau: float, gap: float, learnable: bool, dtype: torch.dtype) -> None:
    logits = leaf(2 * torch.randn(20, 3, 5, generator=seeded(1), dtype=torch.float64), dtype)
    g = torch.randn(20, 3, 5, generator=seeded(2)).to(dtype)
    temperature = leaf(tau, torch.float64)
    sample = gapped_straight_through(logits, temperature if learnable else tau, gap=gap, generator=seeded(3))
    sample.backward(g)
    exact = reference.gapped(logits.detach(), sample.detach(), tau, gap, g)
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(logits.grad.double(), exact, rtol=tolerance, atol=tolerance / tau)
    if learnable:
        shifted = reference.gapped_logits(logits.detach(), sample.detach(), gap)
        to_tau = reference.gradient_to_tau(shifted, tau, g)
        assert float(temperature.grad) == pytest.approx(to_tau, rel=1e-9 if dtype == torch.float64 else 1e-3, abs=1e-3)


def test_masked_categories_stay_masked_in_the_backward_pass() -> None:
    logits, tau = leaf([[-math.inf, 0.0, 1.0, -math.inf]] * 50, torch.float64), leaf(0.5, torch.float64)
    g = torch.randn(50, 4, generator=seeded(4), dtype=torch.float64)
    sample = gapped_straight_through(logits, tau, generator=seeded(5))
    sample.backward(g)
    exact = reference.gapped(logits.detach(), sample.detach(), 0.5, 1.0, g)
    assert not sample[:, [0, 3]].any()
    assert not logits.grad[:, [0, 3]].any()
    torch.testing.assert_close(logits.grad, exact)
    to_tau = reference.gradient_to_tau(reference.gapped_logits(logits.detach(), sample.detach(), 1.0), 0.5, g)
    assert float(tau.grad) == pytest.approx(to_tau)


def test_the_gap_must_not_be_negative() -> None:
    with pytest.raises(ValueError, match="gap must not be negative, got -1"):
        gapped_straight_through(torch.zeros(2, 3), gap=-1.0)
