"""What holds for every metric: epochs, resets, copies, pickles, casts, inference mode, ranks."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics import Metric

from discrete_lightning.distributed import rank
from tests.ranks import run_on_ranks
from tests.tables.faults import cases
from tests.tables.makers import METRICS
from tests.tables.metrics import arguments


def updated(name: str, *seeds: int) -> Metric:
    metric = METRICS[name]()
    for seed in seeds:
        metric.update(*arguments(name, seed))
    return metric


@pytest.mark.parametrize("name", cases("metric reset", METRICS))
def test_a_reset_starts_afresh(name: str) -> None:
    metric = updated(name, 0, 1)
    metric.compute()
    metric.reset()
    metric.update(*arguments(name, 2))
    assert torch.equal(metric.compute(), updated(name, 2).compute())


@pytest.mark.parametrize("name", cases("metric copy", METRICS))
def test_copies_are_equal_and_independent(name: str) -> None:
    metric = updated(name, 0)
    for twin in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert torch.equal(twin.compute(), metric.compute())
        twin.update(*arguments(name, 1))
        assert torch.equal(twin.compute(), updated(name, 0, 1).compute())
        assert torch.equal(metric.compute(), updated(name, 0).compute())


@pytest.mark.parametrize("name", cases("metric dtype", METRICS))
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_cast_network_counts_as_before(name: str, dtype: torch.dtype) -> None:
    metric = METRICS[name]().to(dtype)
    given = [each.to(dtype) if each.is_floating_point() else each for each in arguments(name, 0)]
    expected = METRICS[name]()
    for _ in range(300):  # a 16-bit sum stops growing, or overflows
        metric.update(*given)
        expected.update(*(each.float() if each.is_floating_point() else each for each in given))
    assert metric.compute().dtype == torch.float32
    torch.testing.assert_close(metric.compute(), expected.compute(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", cases("metric inference", METRICS))
def test_counting_goes_on_after_inference_mode(name: str) -> None:
    """As in `Trainer.validate` and then `fit`."""
    metric = METRICS[name]()
    with torch.inference_mode():
        metric.reset()  # at the start of an epoch
        metric.update(*arguments(name, 0))
    metric.update(*arguments(name, 1))
    assert torch.equal(metric.compute(), updated(name, 0, 1).compute())


@pytest.mark.parametrize("name", cases("metric state", METRICS))
def test_a_saved_state_is_taken_up(name: str) -> None:
    metric, twin = updated(name, 0), METRICS[name]()
    for each in (metric, twin):
        each.persistent(True)
    twin.load_state_dict(metric.state_dict())
    twin._update_count = 1  # torchmetrics warns otherwise that nothing was counted
    assert torch.equal(twin.compute(), metric.compute())


def on_a_rank() -> dict[str, Tensor]:
    return {name: updated(name, *((0, 1) if rank() == 0 else (2,))).compute() for name in METRICS}


@pytest.fixture(scope="module")
def ranks() -> list[dict[str, Any]]:
    return run_on_ranks(on_a_rank)


@pytest.mark.parametrize("name", cases("metric ranks", METRICS))
def test_two_ranks_count_as_one_process(ranks: list[dict[str, Any]], name: str) -> None:
    expected = updated(name, 0, 1, 2).compute()
    for found in ranks:
        torch.testing.assert_close(found[name], expected)
