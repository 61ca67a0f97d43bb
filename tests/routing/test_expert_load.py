"""The load of experts over an epoch: its formulas, padding, and two ranks."""

import copy

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from torch import Tensor, nn

from discrete_lightning.distributed import rank, world_size
from discrete_lightning.routing import ExpertChoiceRouter, ExpertLoad, TopKRouter
from tests.ranks import run_on_ranks
from tests.references.inputs import seeded

N, DIM = 6, 4


def batch(seed: int) -> tuple[Tensor, Tensor]:
    return torch.randn(3, 7, DIM, generator=seeded(seed)), torch.rand(3, 7, generator=seeded(seed)) < 0.7


def filled(*seeds: int) -> ExpertLoad:
    metric, router = ExpertLoad(N), TopKRouter(DIM, N, 2).eval()
    nn.init.normal_(router.weight, generator=seeded(9))
    for seed in seeds:
        x, mask = batch(seed)
        metric.update(router(x, mask), mask)
    return metric


def test_figures() -> None:
    router = TopKRouter(DIM, N, 2)
    nn.init.normal_(router.weight, generator=seeded(9))
    with torch.no_grad():
        x = torch.cat([x[mask] for x, mask in (batch(0), batch(1))])
        routed = router(x)
    counts = np.bincount(routed.indices.flatten().numpy(), minlength=N)
    p = routed.probabilities.double().numpy()
    expected = {
        "load_violation": counts.max() / counts.mean() - 1,
        "dead_experts": (counts == 0).sum(),
        "router_entropy": entropy(p, axis=-1).mean(),
        "marginal_entropy": entropy(p.mean(0)),
    }
    metric = filled(0, 1)
    assert {name: float(value) for name, value in metric.compute().items()} == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(metric.share(), counts / counts.sum(), rtol=1e-6)


def test_nothing_seen_resets_copies_and_expert_choice() -> None:
    empty = ExpertLoad(N)
    empty._update_count = 1
    assert {name: float(value) for name, value in empty.compute().items()} == {
        "load_violation": 0, "dead_experts": N, "router_entropy": 0, "marginal_entropy": 0,
    }  # fmt: skip
    metric = filled(0)
    twin = copy.deepcopy(metric)
    metric.reset()
    assert metric.tokens == 0
    assert twin.tokens > 0
    x, mask = batch(0)
    metric.update(ExpertChoiceRouter(DIM, N, 2)(x, mask), mask)
    assert metric.compute()["load_violation"] == 0  # even by construction


def on_a_rank() -> dict[str, Tensor]:
    return filled(*((0, 1) if rank() == 0 else (2,))).compute() if world_size() > 1 else filled(0, 1, 2).compute()


def test_two_ranks_count_as_one_process() -> None:
    expected = on_a_rank()
    for found in run_on_ranks(on_a_rank):
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="count >= 1, got 0"):
        ExpertLoad(0)
    with pytest.raises(ValueError, match="router of 3 experts"):
        ExpertLoad(N).update(TopKRouter(DIM, 3)(torch.zeros(2, DIM)))
