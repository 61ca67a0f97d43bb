"""The rest of the quantiser family on two gloo ranks, built before the group, against one process that is fed everything."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from discrete_lightning.distributed import rank, world_size
from discrete_lightning.losses import code_diversity, marginal_entropy
from discrete_lightning.nn import (
    DifferentiableVectorQuantizer,
    GumbelQuantizer,
    IndexBackpropagationQuantizer,
    LargeGumbelQuantizer,
    LearnedVectorQuantizer,
    LookupFreeQuantizer,
    ProductQuantizer,
    Quantizer,
    ResidualQuantizer,
    SimVectorQuantizer,
    VectorQuantizer,
    update_codebooks_after_step,
)
from tests.ranks import run_on_ranks

STEPS, BATCH = 4, 64


def measured(quantizer: IndexBackpropagationQuantizer) -> Quantizer:
    """With a mean distance that is known: before the first step each rank takes that of its own vectors."""
    quantizer.nearest_distance.fill_(0.5)
    return quantizer


MAKERS: dict[str, Callable[[], Quantizer]] = {
    "learned": lambda: LearnedVectorQuantizer(12, 4, revive_below=0.5, kmeans_iterations=0),
    "cosine": lambda: VectorQuantizer(12, 4, decay=0.8, distance="cosine", kmeans_iterations=0),
    "rotation": lambda: VectorQuantizer(12, 4, decay=0.8, gradient="rotation", kmeans_iterations=0),
    "residual": lambda: ResidualQuantizer(VectorQuantizer(8, 4, decay=0.8, kmeans_iterations=0), 3),
    "product": lambda: ProductQuantizer(LearnedVectorQuantizer(8, 2, kmeans_iterations=0), 2),
    "lookup_free": lambda: LookupFreeQuantizer(4, entropy=1.0, tau=1.0),
    "index_backpropagation": lambda: measured(IndexBackpropagationQuantizer(12, 4, kmeans_iterations=0)),
    "sim": lambda: SimVectorQuantizer(12, 4),
    "differentiable": lambda: DifferentiableVectorQuantizer(12, 4, noise=0.0, revive_below=0.5, kmeans_iterations=0),
}
# until the first step the k-means start is that of each rank
STARTED: dict[str, Callable[[], Quantizer]] = {
    "learned, started": lambda: LearnedVectorQuantizer(12, 4, revive_below=0.5),
    "cosine, started": lambda: VectorQuantizer(12, 4, decay=0.8, distance="cosine"),
    "residual, started": lambda: ResidualQuantizer(VectorQuantizer(8, 4, decay=0.8), 3),
    "product, started": lambda: ProductQuantizer(LearnedVectorQuantizer(8, 2), 2),
}


class Model(nn.Module):
    def __init__(self, make: Callable[[], Quantizer]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(4, 4)
        self.quantizer = make()

    def forward(self, x: Tensor) -> Tensor:
        result = self.quantizer(self.encoder(x))
        return (result.quantized - x).square().mean() + result.loss


def train(model: Model, optimizer: torch.optim.Optimizer | None = None) -> dict[str, Tensor]:
    wrapped: nn.Module = model if world_size() == 1 else DistributedDataParallel(model)
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1)
    binding = update_codebooks_after_step(model, optimizer)
    for step in range(STEPS):
        batch = torch.randn(BATCH, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        wrapped(batch.chunk(world_size())[rank()]).backward()
        optimizer.step()
    binding.remove()
    return {name: value.clone() for name, value in model.state_dict().items()}


def entropies() -> dict[str, tuple[Tensor, Tensor]]:
    """Losses over the logits of this rank's half, and their gradients as data parallelism averages them."""
    found = {}
    for name, loss in (
        ("diversity", lambda x: code_diversity(x, 1)),
        ("marginal", lambda x: marginal_entropy(x, 1)),
    ):
        logits = torch.randn(40, 2, 6, generator=torch.Generator().manual_seed(7), requires_grad=True)
        value = loss(logits.chunk(world_size())[rank()])
        (gradient,) = torch.autograd.grad(value, logits)
        found[name] = value.detach(), gradient / world_size()
    torch.manual_seed(0)
    large = LargeGumbelQuantizer(6, 4, choice_entropy=0.3, marginal_entropy=0.7)
    vectors = torch.randn(40, 4, generator=torch.Generator().manual_seed(8), requires_grad=True)
    value = large(vectors.chunk(world_size())[rank()]).loss
    (gradient,) = torch.autograd.grad(value, vectors)
    found["large"] = value.detach(), gradient / world_size()
    return found


def noise() -> Tensor:
    torch.manual_seed(3)
    return LargeGumbelQuantizer(50, 4)(torch.zeros(400, 4)).indices


FROZEN = ("cosine, started", "residual, started")


def freeze_and_go_on(model: Model) -> dict[str, Tensor]:
    """In the usual wrapper, which asks that all parameters are used."""
    for encoder in (True, False):
        model.encoder.requires_grad_(encoder)
        for frozen in (False, True, False):
            model.quantizer.requires_grad_(not frozen)
            before = {key: value.clone() for key, value in model.quantizer.state_dict().items()}
            if encoder or not frozen:  # else nothing is left to train
                train(model, torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1))
            after = model.quantizer.state_dict()
            assert all(torch.equal(value, before[key]) for key, value in after.items()) is frozen
    return model.state_dict()


def run(pickled: bytes) -> dict[str, object]:
    models = pickle.loads(pickled)
    frozen = {f"{name}, frozen": freeze_and_go_on(copy.deepcopy(models[name])) for name in FROZEN}
    return {
        "entropies": entropies(),
        "noise": noise(),
        **frozen,
        **{name: train(model) for name, model in models.items()},
    }


@pytest.fixture(scope="module")
def ranks() -> list[dict[str, dict[str, Tensor]]]:
    return run_on_ranks(run, pickle.dumps({name: Model(make) for name, make in (MAKERS | STARTED).items()}))


@pytest.mark.parametrize("name", MAKERS)
def test_ranks_are_equal_and_as_one_process(ranks: list[dict[str, dict[str, Tensor]]], name: str) -> None:
    first, second = (result[name] for result in ranks)
    expected = train(Model(MAKERS[name]))
    before = Model(MAKERS[name]).state_dict()
    for key, value in expected.items():
        assert torch.equal(first[key], second[key]), key
        torch.testing.assert_close(first[key], value, rtol=1e-4, atol=1e-5)
    assert any(not torch.equal(before[key], value) for key, value in expected.items())


@pytest.mark.parametrize("name", STARTED)
def test_a_start_of_all_ranks(ranks: list[dict[str, dict[str, Tensor]]], name: str) -> None:
    first, second = (result[name] for result in ranks)
    alone = train(Model(STARTED[name]))
    for key, value in first.items():
        assert torch.equal(value, second[key]), key
        if key.endswith("started"):
            assert value
        if key.endswith("updates"):
            assert value == STEPS
        # where one process puts them, but for the order and what the first step changed
        if key in ("quantizer.codes", "quantizer.quantizers.0.codes"):
            assert torch.cdist(value, alone[key]).amin(1).mean() < 0.3 * value.std()


@pytest.mark.parametrize("name", FROZEN)
def test_frozen_and_not_on_all_ranks(ranks: list[dict[str, dict[str, Tensor]]], name: str) -> None:
    first, second = (result[f"{name}, frozen"] for result in ranks)
    assert all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.parametrize("name", ["diversity", "marginal", "large"])
def test_entropies_are_over_all_ranks(ranks: list[dict[str, dict[str, tuple[Tensor, Tensor]]]], name: str) -> None:
    value, gradient = entropies()[name]
    for result in ranks:
        torch.testing.assert_close(result["entropies"][name][0], value)
    torch.testing.assert_close(sum(result["entropies"][name][1] for result in ranks), gradient)


def test_noise_of_a_large_codebook_is_each_ranks_own(ranks: list[dict[str, Tensor]]) -> None:
    assert (ranks[0]["noise"] == ranks[1]["noise"]).float().mean() < 0.1


def test_a_gumbel_product_has_a_marginal_of_each_group() -> None:
    logits = ProductQuantizer(GumbelQuantizer(6, 2), 2)(torch.randn(30, 4)).logits
    assert logits is not None
    p = torch.softmax(logits, -1).mean(0)
    nats = torch.special.entr(p).sum(-1)
    torch.testing.assert_close(code_diversity(logits, 1), (1 - nats.exp() / 6).mean())
    torch.testing.assert_close(marginal_entropy(logits, 1), nats.mean())
    assert code_diversity(logits, 1) > code_diversity(logits.flatten(0, 1)) - 1e-6
