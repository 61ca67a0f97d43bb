"""One clear error for each wrong use of an estimator; for wrong logits see tests/functional/test_bad_input.py."""

import math

import pytest
import torch

from discrete_lightning.estimators import (
    REBAR,
    RELAX,
    DisARM,
    Estimator,
    GappedStraightThrough,
    GumbelRao,
    IndeCateR,
    LeaveOneOut,
    ReinMaxCV,
    ReinMaxRao,
    StraightThrough,
    StraightThroughGumbel,
    StratifiedReinMax,
)
from discrete_lightning.nn import GumbelQuantizer, RelaxedCategorical, use_estimator
from tests.references.every_estimator import each_score


def test_parameters_are_checked() -> None:
    for build, message in (
        (lambda: LeaveOneOut(samples=1), "LeaveOneOut: samples must be at least 2.*got 1"),
        (lambda: GumbelRao(samples=0), "GumbelRao: samples must be at least 1, got 0"),
        (lambda: IndeCateR(samples=0), "IndeCateR: samples and chunk must be at least 1, got samples=0, chunk=64"),
        (lambda: IndeCateR(chunk=0), "IndeCateR: samples and chunk must be at least 1, got samples=1, chunk=0"),
        (lambda: StratifiedReinMax(samples=0), "StratifiedReinMax: samples must be at least 1, got 0"),
        (lambda: REBAR(eta=math.inf), "REBAR: eta must be finite, got inf"),
        (lambda: RELAX(eta=math.nan), "RELAX: eta must be finite, got nan"),
        (lambda: ReinMaxRao(samples=0), "ReinMaxRao: samples must be at least 1, got 0"),
        (lambda: ReinMaxCV(samples=0), "ReinMaxCV: samples must be at least 1, got 0"),
        (lambda: ReinMaxCV(eta=math.nan), "ReinMaxCV: eta must be finite, got nan"),
        (lambda: ReinMaxCV(relaxation_tau=0.0), "ReinMaxCV: relaxation_tau must be positive"),
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
