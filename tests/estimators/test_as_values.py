"""An estimator is a value (equal, hashable, picklable), and layers take it."""

import copy
import dataclasses
import pickle

import pytest
import torch
from torch import nn

from discrete_lightning import estimators
from discrete_lightning.estimators import Estimator
from discrete_lightning.nn import GumbelQuantizer, RelaxedBernoulli, RelaxedCategorical
from tests.references.every_estimator import ALL, HARD, each_of_all, each_pathwise
from tests.references.inputs import leaf, seeded


@pytest.mark.parametrize("estimator", ALL, ids=repr)
def test_an_estimator_is_a_value(estimator: Estimator) -> None:
    other = dataclasses.replace(estimator)  # type: ignore[type-var]
    assert other == estimator
    assert hash(other) == hash(estimator)
    assert pickle.loads(pickle.dumps(estimator)) == estimator
    assert copy.deepcopy(estimator) == estimator
    assert eval(repr(estimator), vars(estimators)) == estimator
    assert isinstance(estimator, Estimator)
    with pytest.raises(dataclasses.FrozenInstanceError):
        estimator.samples = 4  # type: ignore[attr-defined]


def test_estimators_of_different_kinds_differ() -> None:
    assert len(set(ALL)) == len(ALL)


@each_of_all
def test_layers_take_what_serves_them(estimator: Estimator) -> None:
    torch.manual_seed(0)
    layers: list[nn.Module] = [RelaxedBernoulli(estimator, 0.5)]
    if estimator.categorical:
        layers.append(RelaxedCategorical(estimator, 0.5))
    for layer in layers:
        logits = leaf(torch.randn(6, 2, 3, generator=seeded(52)))
        losses = layer.expectation(lambda sample: sample.flatten(-2).cumsum(-1).sum(-1) ** 2, logits)
        assert losses.shape == (6,)
        losses.sum().backward()
        assert logits.grad.isfinite().all()
        assert logits.grad.any()
        assert layer.eval()(logits).unique().tolist() == [0, 1]
    if estimator.pathwise:
        result = GumbelQuantizer(8, 4, estimator)(torch.randn(5, 4, generator=seeded(53)))
        assert result.quantized.requires_grad


@each_pathwise
def test_hard_says_whether_samples_are_of_0_and_1(estimator: Estimator) -> None:
    """A layer that runs the chosen categories alone relies on it."""
    assert estimator.hard == (estimator in HARD)
