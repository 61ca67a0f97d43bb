"""Updates on two ranks: all join each, also a rank whose batch did not reach the codebook."""

import pickle
import warnings
from fnmatch import fnmatchcase

import pytest
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from discrete_lightning.distributed import rank
from discrete_lightning.nn import (
    LearnedVectorQuantizer,
    ProductQuantizer,
    ResidualQuantizer,
    VectorQuantizer,
    update_codebooks_after_step,
)
from discrete_lightning.vq.quantizers.revival import sample_by_error
from tests.ranks import run_on_ranks
from tests.vq.moving_codes import MovingCodes
from tests.vq.quantizers.makers import some_vectors
from tests.vq.quantizers.updated_model import STEPS, Model, assert_equal, state

RANKED = {
    "ema": lambda: VectorQuantizer(12, 4, decay=0.8, kmeans_iterations=0, revive_below=0.0),
    "defaults": lambda: VectorQuantizer(12, 4),
    "learned": lambda: LearnedVectorQuantizer(12, 4),
    "residual": lambda: ResidualQuantizer(VectorQuantizer(8, 4, revive_below=0.5), 2),
    "product": lambda: ProductQuantizer(LearnedVectorQuantizer(8, 2), 2),
}
SKIPS = {"in the middle": (2,), "at the start": (0, 1), "all but one": (0, 1, 3, 4)}


def train_skipping(pickled: bytes) -> dict[str, dict[str, Tensor]]:
    """Rank 1 leaves the layer out in some steps; both ranks in the last one."""
    found = {}
    for name, models in pickle.loads(pickled).items():
        for skip, model in models.items():
            wrapped = DistributedDataParallel(model.encoder)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
            update_codebooks_after_step(model, optimizer)
            for step in range(STEPS + 1):
                optimizer.zero_grad()
                vectors = wrapped(some_vectors(40, 3, seed=10 * step + rank()))
                loss = vectors.square().mean()
                if step < STEPS and not (rank() == 1 and step in SKIPS[skip]):
                    result = model.quantizer(vectors)
                    loss = loss + result.quantized.square().mean() + result.loss
                loss.backward()
                if isinstance(model.codebooks()[0], LearnedVectorQuantizer):  # not in the wrapper
                    for each in model.quantizer.parameters():
                        each.grad = None
                optimizer.step()
            found[f"{name}, {skip}"] = state(model)
    return found


@pytest.fixture(scope="module")
def skipping() -> list[dict[str, dict[str, Tensor]]]:
    models = {name: {skip: Model(make) for skip in SKIPS} for name, make in RANKED.items()}
    return run_on_ranks(train_skipping, pickle.dumps(models), seconds=100)


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("name", RANKED)
def test_a_rank_that_skips_the_layer_joins_the_update(
    name: str, skip: str, skipping: list[dict[str, dict[str, Tensor]]]
) -> None:
    first, second = (each[f"{name}, {skip}"] for each in skipping)
    assert_equal(first, second)
    before = state(Model(RANKED[name]))
    for key, value in first.items():
        if key.endswith("updates"):
            assert value == STEPS  # the step in which no rank had a pass is none
        if fnmatchcase(key, "*codes"):
            assert not torch.equal(value, before[key])


@pytest.mark.parametrize("skip", SKIPS)
def test_what_both_ranks_saw_is_in_the_codes(skip: str, skipping: list[dict[str, dict[str, Tensor]]]) -> None:
    """Against the reference, which is fed what the ranks' encoders gave."""
    model = Model(RANKED["ema"])
    layer: VectorQuantizer = model.quantizer  # type: ignore[assignment]
    truth = MovingCodes(layer.codes, layer.counts, layer.sums, layer.decay)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    binding = update_codebooks_after_step(model, optimizer)
    for step in range(STEPS):
        optimizer.zero_grad()
        seen = []
        for r in (0, 1):
            vectors = model.encoder(some_vectors(40, 3, seed=10 * step + r))
            loss = vectors.square().mean()
            if not (r == 1 and step in SKIPS[skip]):
                seen.append(vectors.detach())
                result = model.quantizer(vectors)
                loss = loss + result.quantized.square().mean() + result.loss
            (loss / 2).backward()
        truth.step(torch.cat(seen))
        optimizer.step()
    binding.remove()
    for key in ("codes", "counts", "sums"):
        torch.testing.assert_close(
            skipping[0][f"ema, {skip}"][f"quantizer.{key}"].double(), getattr(truth, key), rtol=1e-4, atol=1e-5
        )


def train_unbound(pickled: bytes) -> dict[str, tuple[dict[str, Tensor], list[str]]]:
    found = {}
    for name, model in pickle.loads(pickled).items():
        wrapped = DistributedDataParallel(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for step in range(4):
                optimizer.zero_grad()
                wrapped(some_vectors(40, 3, seed=10 * step + rank())).backward()
                optimizer.step()
        found[name] = state(model), [str(each.message) for each in caught if "VectorQuantizer" in str(each.message)]
    return found


def test_ranks_without_a_binding_are_told_and_stay_equal() -> None:
    models = {name: Model(RANKED[name]) for name in ("defaults", "learned")}
    first, second = run_on_ranks(train_unbound, pickle.dumps(models), seconds=60)
    for name in models:
        assert_equal(first[name][0], second[name][0])
        for _, told in (first[name], second[name]):
            assert len(told) == 1
            assert "on 2 ranks its codes are not updated until" in told[0]
            assert "update_codebooks_after_step(model, optimizer)" in told[0]


# Revival over ranks: the same places and vectors as one process with all of them


def sampled() -> list[tuple[Tensor, Tensor]]:
    results = []
    for vectors, errors, wanted, sizes in revival_cases():
        part = slice(0, sizes[0]) if rank() == 0 else slice(sizes[0], None)
        results.append(sample_by_error(vectors[part], errors[part], wanted))
    return results


def revival_cases() -> list[tuple[Tensor, Tensor, Tensor, tuple[int, int]]]:
    cases = []
    for seed, sizes in enumerate([(30, 30), (0, 20), (20, 0), (3, 50), (1, 1), (40, 7)]):
        generator = torch.Generator().manual_seed(seed)
        count = sum(sizes)
        errors = torch.rand(count, generator=generator).pow(4) * 10.0 ** float(seed - 2)
        if seed == 5:
            errors[:30] = 0
        wanted = torch.rand(16, generator=generator) < 0.6
        cases.append((torch.randn(count, 3, generator=generator), errors, wanted, sizes))
    return cases


def test_revival_takes_what_one_process_would() -> None:
    alone = [sample_by_error(vectors, errors, wanted) for vectors, errors, wanted, _ in revival_cases()]
    for found in run_on_ranks(sampled):
        for (places, rows), (expected_places, expected_rows) in zip(found, alone, strict=True):
            assert torch.equal(places, expected_places)
            assert torch.equal(rows, expected_rows)
    for (places, rows), (vectors, errors, wanted, _) in zip(alone, revival_cases(), strict=True):
        assert not (places & ~wanted).any()
        taken = [int((vectors == row).all(1).nonzero()[0]) for row in rows[places]]
        share = errors.double() / errors.double().sum() * int(wanted.sum())
        for index, expected in enumerate(share.tolist()):  # systematic: floor or ceil, at most once
            assert int(expected >= 1 + 1e-6) <= taken.count(index) <= int(expected > 0)


def test_nothing_wanted_and_nothing_to_take() -> None:
    none = sample_by_error(torch.zeros(0, 2), torch.zeros(0), torch.ones(3, dtype=torch.bool))
    assert not none[0].any()
    unwanted = sample_by_error(torch.ones(4, 2), torch.ones(4), torch.zeros(3, dtype=torch.bool))
    assert not unwanted[0].any()
    exact = sample_by_error(torch.ones(4, 2), torch.zeros(4), torch.ones(3, dtype=torch.bool))
    assert not exact[0].any()
