"""One clear error for each wrong input."""

import math

import pytest
import torch
from torch import Tensor

from discrete_lightning.estimators import (
    DisARM,
    Estimator,
    GappedStraightThrough,
    GumbelRao,
    LeaveOneOut,
    StraightThrough,
    StraightThroughGumbel,
)
from discrete_lightning.nn import GumbelQuantizer, RelaxedCategorical, use_estimator
from tests.references.every_estimator import each_kind, each_of_all, each_pathwise, each_score

BAD_TAUS = [0.0, -1.0, math.nan, math.inf, torch.tensor(0.0), torch.tensor(-1.0).requires_grad_(), torch.tensor([1.0])]


@each_pathwise
@each_kind
@pytest.mark.parametrize("tau", BAD_TAUS)
def test_bad_temperatures(estimator: Estimator, binary: bool, tau: float | Tensor) -> None:
    with pytest.raises(ValueError, match="tau must be"):
        (estimator.bernoulli if binary else estimator)(torch.zeros(2, 3), tau)


@each_pathwise
@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("row", [[math.nan, 0.0], [math.inf, 0.0], [-math.inf, -math.inf]])
def test_rows_without_a_distribution(estimator: Estimator, row: list[float], learnable: bool) -> None:
    with pytest.raises(ValueError, match="1 of 2 rows of logits have no distribution"):
        estimator(torch.tensor([[0.0, 1.0], row]), torch.tensor(0.5, requires_grad=learnable))


@pytest.mark.parametrize("row", [[math.nan, 0.0], [math.inf, 0.0], [-math.inf, -math.inf]])
def test_leave_one_out_of_rows_without_a_distribution(row: list[float]) -> None:
    with pytest.raises(ValueError, match="rows of logits have no distribution"):
        LeaveOneOut().expectation(lambda sample: sample.sum(-1), torch.tensor([[0.0, 1.0], row]))


@each_of_all
def test_nan_log_odds(estimator: Estimator) -> None:
    with pytest.raises(ValueError, match=r"of .* Bernoulli logits are NaN"):
        estimator.expectation(lambda sample: sample, torch.tensor([0.0, math.nan]), binary=True)
    if estimator.pathwise:
        with pytest.raises(ValueError, match="1 of 2 Bernoulli logits are NaN"):
            estimator.bernoulli(torch.tensor([0.0, math.nan]))


@each_pathwise
def test_no_categories_and_no_floats(estimator: Estimator) -> None:
    with pytest.raises(ValueError, match="no category"):
        estimator(torch.zeros(3, 0))
    with pytest.raises(ValueError, match="logits must be floating"):
        estimator(torch.zeros(3, 2, dtype=torch.int64))


def test_parameters_are_checked() -> None:
    for build, message in (
        (lambda: LeaveOneOut(samples=1), "LeaveOneOut: samples must be at least 2.*got 1"),
        (lambda: GumbelRao(samples=0), "GumbelRao: samples must be at least 1, got 0"),
        (lambda: GappedStraightThrough(gap=-1.0), "gap must be >= 0 and finite, got -1"),
        (lambda: GappedStraightThrough(gap=math.inf), "gap must be >= 0 and finite, got inf"),
        (lambda: GappedStraightThrough(gap=math.nan), "gap must be >= 0 and finite, got nan"),
        (lambda: StraightThrough(backward_tau=0.0), "backward_tau must be positive and finite, got 0"),
        (lambda: StraightThrough(backward_tau=-1.0), "backward_tau must be positive and finite, got -1"),
        (lambda: StraightThrough(backward_tau=math.nan), "backward_tau must be positive and finite, got nan"),
    ):
        with pytest.raises(ValueError, match=message):
            build()


@each_score
def test_a_sample_alone_is_refused(estimator: Estimator) -> None:
    for draw in (estimator, estimator.bernoulli):
        with pytest.raises(TypeError, match=rf"{type(estimator).__name__} .*expectation"):
            draw(torch.zeros(2, 3))


def test_an_estimator_without_samples_says_what_to_use_instead() -> None:
    for draw_with in (Estimator(), Estimator().bernoulli):
        with pytest.raises(TypeError, match=r"use estimator\.expectation"):
            draw_with(torch.zeros(2, 3))


def test_layers_refuse_what_cannot_serve_them() -> None:
    with pytest.raises(ValueError, match=r"DisARM\(\) is for binary variables.*LeaveOneOut"):
        RelaxedCategorical(DisARM())
    for estimator in (DisARM(), LeaveOneOut()):
        with pytest.raises(ValueError, match=type(estimator).__name__):
            GumbelQuantizer(8, 4, estimator)
    layer, quantizer = RelaxedCategorical(), GumbelQuantizer(8, 4)
    for module, estimator in ((layer, DisARM()), (quantizer, LeaveOneOut()), (quantizer, DisARM())):
        with pytest.raises(ValueError, match=type(estimator).__name__):
            use_estimator(module, estimator)
    assert layer.estimator == quantizer.sample.estimator == StraightThroughGumbel()  # as they were
    with pytest.raises(TypeError, match="for binary variables"):
        DisARM().expectation(lambda sample: sample.sum(-1), torch.zeros(2, 3))
