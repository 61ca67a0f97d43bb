"""A rank whose batch has no rows: no layer hangs, and what all ranks share is what the rows of the other rank give."""

from typing import Any

import pytest
import torch
from torch import Tensor

from discrete_lightning.distributed import average_over_ranks, rank
from tests.ranks import run_on_ranks
from tests.tables.makers import LAYERS, loss_of, results
from tests.tables.test_layers import among, assert_same, built, state

STEPS = 3
# what they are called with is no batch: a weight, or nothing
NO_BATCH = ("*Mask*", "ArchitectureChoice", "LossWeight", "Scheduled", "SequenceLogits", "Temperature")
NAMES = [name for name in LAYERS if not among(name, NO_BATCH)]


def train_with_rows_on_rank_zero(name: str) -> dict[str, Tensor]:
    network, layer = built(name), LAYERS[name]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    for step in range(STEPS):
        torch.manual_seed(step)
        given = layer.arguments(network.layer, seed=10 * step)
        found = results(network, tuple(each[:0] for each in given) if rank() else given)
        found = [each for each in found if each.numel()]
        optimizer.zero_grad()
        if any(each.requires_grad for each in found):
            loss_of(found).backward()
        parameters = list(network.parameters())
        gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
        for parameter, gradient in zip(parameters, average_over_ranks(gradients), strict=True):
            parameter.grad = gradient
        optimizer.step()
    return state(network)


def on_a_rank() -> dict[str, Any]:
    torch.set_num_threads(1)
    return {name: train_with_rows_on_rank_zero(name) for name in NAMES}


@pytest.fixture(scope="module")
def ranks() -> list[dict[str, Any]]:
    return run_on_ranks(on_a_rank)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_rank_changes_nothing(ranks: list[dict[str, Any]], name: str) -> None:
    first, second = ranks
    assert_same(first[name], second[name])
    assert all(each.isfinite().all() for each in first[name].values() if each.is_floating_point())
