"""Batches without a row, and the layer that the name of an estimator stands for."""

from typing import Any

import pytest
import torch

from discrete_lightning.estimators import SIMPLE, LeaveOneOut
from discrete_lightning.selection import ConcreteSelector, Gate, HardConcrete, SelectK, StochasticGate, gate_of

MAKERS: dict[str, Any] = {
    "Gate": Gate,
    "HardConcrete": HardConcrete,
    "StochasticGate": StochasticGate,
    "SelectK": lambda size, per: SelectK(2, size, per=per),
    "ConcreteSelector": lambda size, per: ConcreteSelector(2, size, per=per),
}


@pytest.mark.parametrize("per", ["row", "batch"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("shape", [(0, 3), (0, 4, 3), (2, 0, 3)])
def test_no_rows(name: str, per: Any, training: bool, shape: tuple[int, ...]) -> None:
    layer = MAKERS[name](3, per=per).train(training)
    y = layer(torch.zeros(shape, requires_grad=True))
    assert y.shape[:-1] == shape[:-1]
    y.sum().backward()
    assert all(each.grad is None or not each.grad.any() for each in layer.parameters())


@pytest.mark.parametrize("per", ["row", "batch"])
def test_no_rows_have_no_gradient_by_the_losses(per: Any) -> None:
    gate = Gate(3, LeaveOneOut(), per=per)
    losses = gate.expectation(lambda z: z.sum(-1), torch.zeros(0, 3))
    assert losses.shape == (0,)
    losses.sum().backward()
    assert gate.logits.grad is None or not gate.logits.grad.any()


def test_simple_chooses_subsets() -> None:
    layer = gate_of("SIMPLE", 6)
    assert isinstance(layer, SelectK)
    layer.set_k(2)
    assert layer.sampler.estimator == SIMPLE()
    assert (layer(torch.ones(5, 6)).sum(-1) == 2).all()
