"""Two gloo ranks, with modules that were built before the process group, against one process that is fed everything."""

import contextlib
import pickle
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from discrete_lightning.distributed import rank, world_size
from discrete_lightning.estimators import GumbelSoftmax
from discrete_lightning.nn import (
    RelaxedBernoulli,
    RelaxedCategorical,
    VectorQuantizer,
    relaxed,
    update_codebooks_after_step,
)
from discrete_lightning.vq.quantized import Quantized
from tests.ranks import run_on_ranks

STEPS, BATCH, CODES = 5, 48, 12


class Case(NamedTuple):
    kmeans_iterations: int = 0
    revive_below: float = 0.0
    broadcast_buffers: bool = True
    accumulate: int = 1
    far: int = 0  # codes that start where no vector is


CASES = {
    "plain": Case(),
    "no_broadcast": Case(broadcast_buffers=False),
    "kmeans": Case(kmeans_iterations=10),
    "kmeans_no_broadcast": Case(kmeans_iterations=10, broadcast_buffers=False),
    "revival": Case(revive_below=0.3, far=8),
    "revival_no_broadcast": Case(revive_below=0.3, far=8, broadcast_buffers=False),
    "accumulation": Case(accumulate=3),
    "accumulation_no_broadcast": Case(accumulate=3, broadcast_buffers=False),
    "everything": Case(kmeans_iterations=10, revive_below=0.9, accumulate=3),
    "defaults": Case(kmeans_iterations=10, revive_below=0.1),
}


class Model(nn.Module):
    def __init__(self, case: Case) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(4, 4)
        self.quantizer = VectorQuantizer(
            CODES, 4, decay=0.8, revive_below=case.revive_below, kmeans_iterations=case.kmeans_iterations
        )
        self.quantizer.codes[CODES - case.far :] += 100.0
        self.quantizer._remember_drawn()  # as if they had been drawn so

    def forward(self, x: Tensor) -> Quantized:
        result: Quantized = self.quantizer(self.encoder(x))
        return result


def hurry() -> None:
    """Makes an error of a collective that the other rank does not join."""
    dist.distributed_c10d._set_pg_timeout(timedelta(seconds=60), dist.group.WORLD)


def train(model: Model, case: Case) -> dict[str, Tensor]:
    """Trains on this rank's share of each batch; what the rank's state is after each step."""
    alone = world_size() == 1
    wrapped: nn.Module = model if alone else DistributedDataParallel(model, broadcast_buffers=case.broadcast_buffers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    update_codebooks_after_step(model, optimizer)
    history: dict[str, list[Tensor]] = {"codes": [], "counts": [], "sums": [], "weight": []}
    for step in range(STEPS):
        batch = torch.randn(BATCH, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        for index, part in enumerate(batch.chunk(case.accumulate)):
            waits = not alone and index < case.accumulate - 1
            with wrapped.no_sync() if waits else contextlib.nullcontext():
                result = wrapped(part.chunk(world_size())[rank()])
                (result.quantized.square().mean() + result.loss).backward()
        optimizer.step()
        for name in ("codes", "counts", "sums"):
            history[name].append(getattr(model.quantizer, name).clone())
        history["weight"].append(model.encoder.weight.detach().clone())
    return {name: torch.stack(values) for name, values in history.items()}


def noise(layer: RelaxedCategorical | RelaxedBernoulli) -> dict[str, Any]:
    """What a layer samples here after one seed for all ranks, twice, and whether the default generators stay equal."""
    logits, samples = torch.zeros(200, 3), []
    for _ in range(2):
        torch.manual_seed(3)
        samples.append(layer(logits))
    state = torch.get_rng_state()
    with relaxed(layer.eval()):
        inside = layer(logits)
    return {
        "samples": samples,
        "inside": inside,
        "unchanged": torch.equal(torch.get_rng_state(), state),
        "state": state,
    }


def train_all(pickled: bytes) -> dict[str, Any]:
    hurry()
    models, layers = pickle.loads(pickled)  # as bytes: tensors as arguments would be in memory that the ranks share
    return {"noise": [noise(layer) for layer in layers], **{name: train(models[name], CASES[name]) for name in models}}


@pytest.fixture(scope="module")
def ranks() -> list[dict[str, Any]]:
    models = {name: Model(case) for name, case in CASES.items()}
    layers = [RelaxedCategorical(GumbelSoftmax()), RelaxedBernoulli(GumbelSoftmax())]
    return run_on_ranks(train_all, pickle.dumps((models, layers)))


@pytest.mark.parametrize("name", CASES)
def test_codebooks_are_equal_on_all_ranks(ranks: list[dict[str, Any]], name: str) -> None:
    first, second = (result[name] for result in ranks)
    for key in ("codes", "counts", "sums"):
        assert torch.equal(first[key], second[key]), key
        assert not torch.equal(first[key][0], first[key][-1])


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"everything"}))  # there the candidates come in another order
def test_as_one_process_would_do(ranks: list[dict[str, Any]], name: str) -> None:
    expected = train(Model(CASES[name]), CASES[name])
    for key, value in expected.items():
        torch.testing.assert_close(ranks[0][name][key], value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["revival", "revival_no_broadcast"])
def test_revival_happened_and_took_vectors_of_both_ranks(ranks: list[dict[str, Any]], name: str) -> None:
    assert (ranks[0][name]["codes"][-1].norm(dim=1) < 10).all()
    vectors = Model(CASES[name]).encoder(torch.randn(BATCH, 4, generator=torch.Generator().manual_seed(0)))
    revived = ranks[0][name]["codes"][0][-8:]
    assert (revived.unsqueeze(1) - vectors).norm(dim=-1).amin(1).max() < 1e-5
    origin = (revived.unsqueeze(1) - vectors).norm(dim=-1).argmin(1) // (BATCH // 2)
    assert set(origin.tolist()) == {0, 1}


@pytest.mark.parametrize("layer", [0, 1], ids=["categorical", "bernoulli"])
def test_noise_is_each_ranks_own_and_repeatable(ranks: list[dict[str, Any]], layer: int) -> None:
    first, second = (result["noise"][layer] for result in ranks)
    for each in (first, second):
        assert torch.equal(*each["samples"])
        assert each["unchanged"]
    assert torch.equal(first["state"], second["state"])
    for key in ("samples", "inside"):
        a, b = torch.stack([*first[key]]), torch.stack([*second[key]])
        assert torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].abs() < 0.15


# Ranks whose batches hold different numbers of vectors: masked tokens, sentences of different lengths, last batches.


UNEVEN = {
    "later": [(40, 40), (7, 31), (31, 7)],
    "first": [(37, 41), (40, 40)],
    "none_later": [(40, 40), (0, 40), (40, 0)],
    "none_first": [(0, 40), (40, 40)],
}


def train_unevenly() -> dict[str, tuple[Tensor, bool]]:
    hurry()
    results = {}
    for name, steps in UNEVEN.items():
        torch.manual_seed(0)
        layer = VectorQuantizer(8, 4, revive_below=0.9)
        optimizer = torch.optim.SGD([x := nn.Parameter(torch.zeros(()))], lr=0.1)
        update_codebooks_after_step(layer, optimizer)
        for step, sizes in enumerate(steps):
            vectors = torch.randn(sizes[rank()], 4, generator=torch.Generator().manual_seed(10 * step + rank()))
            (layer(vectors + x).quantized.sum() + x).backward()
            optimizer.step()
        results[name] = layer.codes, bool(layer.started)
    return results


@pytest.fixture(scope="module")
def uneven() -> list[dict[str, tuple[Tensor, bool]]]:
    return run_on_ranks(train_unevenly)


@pytest.mark.parametrize("name", UNEVEN)
def test_ranks_with_different_numbers_of_vectors(uneven: list[dict[str, tuple[Tensor, bool]]], name: str) -> None:
    (first, started), (second, _) = (result[name] for result in uneven)
    assert started
    assert torch.equal(first, second)
