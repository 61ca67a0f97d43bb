"""Masks, huge logits, many categories, half precision, odd shapes: finite gradients, and none where nothing can be chosen."""

import math

import pytest
import torch
from torch import Tensor

from discrete_lightning.estimators import Estimator, GappedStraightThrough, LeaveOneOut
from tests.references.every_estimator import SOFT, VANISHING, each_kind, each_of_all, each_pathwise
from tests.references.inputs import leaf, seeded

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
each_half = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)


@each_pathwise
@each_half
@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_many_categories_in_half_precision(estimator: Estimator, dtype: torch.dtype, tau: float) -> None:
    logits, temperature = leaf(torch.randn(8, 8192, generator=seeded(32)), dtype), leaf(tau)
    sample = estimator(logits, temperature, seeded(33))
    rounding = 0.02 if estimator in SOFT else 0.0
    torch.testing.assert_close(sample.double().sum(-1), torch.ones(8, dtype=torch.float64), rtol=0, atol=rounding)
    (sample.float() @ torch.randn(8192, generator=seeded(34))).sum().backward()
    assert logits.grad.isfinite().all()
    assert logits.grad.any() or isinstance(estimator, VANISHING)
    assert temperature.grad is None or temperature.grad.isfinite()


@each_pathwise
@each_dtype
@pytest.mark.parametrize("tau", [0.1, 1.0, 2.0])
def test_huge_logits_and_masks(estimator: Estimator, dtype: torch.dtype, tau: float) -> None:
    """Categories that cannot be are not drawn and get no gradient."""
    rows = [[1e4, -1e4, 1e4, -math.inf], [-1e4, -math.inf, -1e4, -math.inf], [-math.inf, -math.inf, 0.0, -1e4]]
    logits, temperature = leaf(torch.tensor(rows).expand(50, 3, 4), dtype), leaf(tau)
    sample = estimator(logits, temperature, seeded(35))
    (sample * torch.tensor([3.0, 1.0, -1.0, 2.0], dtype=dtype)).sum().backward()
    impossible = logits.detach() < logits.detach().amax(-1, keepdim=True)
    assert not sample[impossible].any()
    assert not logits.grad[impossible & logits.detach().isneginf()].any()
    assert logits.grad.isfinite().all()
    assert logits.grad[:, :2].any() or isinstance(estimator, VANISHING)
    assert temperature.grad is None or temperature.grad.isfinite()
    if not isinstance(estimator, GappedStraightThrough):  # whose gap reduces the distance of no category
        assert not logits.grad[impossible].any()


@each_of_all
@each_dtype
@pytest.mark.parametrize("extreme", [1e4, math.inf])
def test_sure_binary_choices(estimator: Estimator, dtype: torch.dtype, extreme: float) -> None:
    """Infinite log-odds are documented as sure choices (gumbel_sigmoid, check_elements)."""
    logits, tau = leaf([[-extreme, extreme, 0.3]] * 50, dtype), leaf(0.5)
    seen: list[Tensor] = []

    def function(sample: Tensor) -> Tensor:
        seen.append(sample.detach())
        return sample.sum(-1) ** 2

    losses = estimator.expectation(function, logits, tau, seeded(36), binary=True)
    losses.sum().backward()
    assert (seen[0][..., 0] == 0).all()
    assert (seen[0][..., 1] == 1).all()
    assert losses.isfinite().all()
    assert logits.grad.isfinite().all()
    assert not logits.grad[:, :2].any()
    assert tau.grad is None or tau.grad.isfinite()


@pytest.mark.parametrize("estimator", [LeaveOneOut(), LeaveOneOut(samples=5)], ids=repr)
@each_dtype
def test_leave_one_out_with_huge_logits_and_masks(estimator: Estimator, dtype: torch.dtype) -> None:
    logits = leaf([[1e4, -1e4, 1e4, -math.inf], [-math.inf, -math.inf, 0.0, 0.5]] * 50, dtype)
    cost = torch.tensor([3.0, 1.0, -1.0, 2.0], dtype=dtype)
    losses = estimator.expectation(lambda sample: sample @ cost, logits, 1.0, seeded(37))
    losses.sum().backward()
    assert losses.isfinite().all()
    assert logits.grad.isfinite().all()
    assert logits.grad.any()
    assert not logits.grad[logits.detach() < -1e3].any()


@each_pathwise
@each_kind
def test_shapes_of_batches(estimator: Estimator, binary: bool) -> None:
    for shape in ((4,), (0, 4), (2, 0, 4), (2, 3, 4), (5, 1), (1, 1), *([()] if binary else [])):
        logits, tau = leaf(torch.zeros(shape)), leaf(0.5)
        sample = (estimator.bernoulli if binary else estimator)(logits, tau)
        assert sample.shape == shape
        sample.square().sum().backward()
        assert logits.grad.shape == shape
        assert logits.grad.isfinite().all()
        if not binary and shape[-1] == 1:
            assert (sample == 1).all()
            torch.testing.assert_close(logits.grad, torch.zeros(shape), rtol=0, atol=1e-6)
