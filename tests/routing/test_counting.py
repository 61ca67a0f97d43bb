"""Counts of passes, applied once after each step of the optimiser: accumulation, checkpointing, copies, compilers, ranks."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from discrete_lightning.distributed import rank, world_size
from discrete_lightning.nn import update_after_step
from discrete_lightning.routing import (
    BiasBalancedRouter,
    ExpertMLP,
    MixtureOfExperts,
    SampledRouter,
    SwitchRouter,
    routing_loss,
)
from discrete_lightning.routing.router import Router
from tests.ranks import run_on_ranks
from tests.references.inputs import seeded

N, DIM = 5, 4


def layer(router: Router | None = None) -> MixtureOfExperts:
    torch.manual_seed(0)
    router = BiasBalancedRouter(DIM, N, 2, speed=0.1) if router is None else router
    nn.init.normal_(router.weight, generator=seeded(3))
    return MixtureOfExperts(ExpertMLP(DIM, 8), N, router.k, router=router)


def batches(count: int = 4, rows: int = 16) -> Tensor:
    return torch.randn(count, rows, DIM, generator=seeded(0))


def moved(counts: Tensor) -> Tensor:
    return 0.1 * torch.sign(counts.float().mean() - counts)


def counts_of(module: MixtureOfExperts, x: Tensor) -> Tensor:
    return module.router(x).indices.flatten().bincount(minlength=N)


PASSES: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "plain": lambda module, x: module(x),
    "checkpoint": lambda module, x: checkpoint(module, x, use_reentrant=False),
    "reentrant checkpoint": lambda module, x: checkpoint(module, x, use_reentrant=True),
}


@pytest.mark.parametrize("way", PASSES)
def test_accumulated_passes_count_once_as_one_batch(way: str) -> None:
    module, x = layer(), batches()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.0)
    expected = torch.zeros(N)
    for step in range(2):
        with torch.no_grad():
            expected += moved(sum(counts_of(module, x[2 * step + i]) for i in range(2)))  # type: ignore[arg-type]
        for i in range(2):
            PASSES[way](module, x[2 * step + i].requires_grad_()).square().mean().backward()
        optimizer.step()
        torch.testing.assert_close(module.router.bias, expected)
    assert module.router.updates == 2


def test_what_does_not_count() -> None:
    module, x = layer(), batches(1)[0]
    optimizer = torch.optim.SGD(module.parameters(), lr=0.0)
    with torch.no_grad():
        module(x)
    module.eval()(x).sum().backward()
    module.train()
    module(x)  # no backward pass
    module(x, torch.zeros(16, dtype=torch.bool)).sum().backward()  # padding alone
    optimizer.step()
    assert module.router.bias.eq(0).all()
    module.router.weight.requires_grad_(False)
    module(x).sum().backward()
    optimizer.step()
    assert module.router.bias.eq(0).all()


def test_a_second_backward_pass_of_one_graph_counts_once() -> None:
    module, x = layer(), batches(1)[0]
    optimizer = torch.optim.SGD(module.parameters(), lr=0.0)
    loss = module(x).square().mean()
    loss.backward(retain_graph=True)
    loss.backward()
    counts = module.router.pending_counts()
    assert counts is not None
    assert torch.equal(counts.long(), counts_of(module.eval(), x))
    optimizer.step()


def test_padding_does_not_count() -> None:
    module, x = layer(), batches(1)[0]
    optimizer = torch.optim.SGD(module.parameters(), lr=0.0)
    expected = moved(counts_of(module, x[:3]))
    module(x, torch.arange(16) < 3).square().mean().backward()
    optimizer.step()
    torch.testing.assert_close(module.router.bias, expected)


def test_copies_and_pickles_count_by_themselves() -> None:
    module, x = layer(), batches(1)[0]
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        optimizer = torch.optim.SGD(twin.parameters(), lr=0.0)
        twin(x).square().mean().backward()
        optimizer.step()
        assert twin.router.updates == 1
        assert module.router.updates == 0
        assert module.router.pending_counts() is None


def test_only_the_optimiser_of_the_router_counts() -> None:
    module, x = layer(), batches(1)[0]
    mine = torch.optim.SGD(module.parameters(), lr=0.0)
    other = nn.Linear(DIM, 1)
    adversary = torch.optim.SGD(other.parameters(), lr=0.0)
    other(module(x)).square().mean().backward()
    adversary.step()
    assert module.router.updates == 0
    mine.step()
    assert module.router.updates == 1


def test_a_binding_in_a_loop_of_ones_own() -> None:
    module, x = layer(), batches(1)[0]
    optimizer = torch.optim.SGD(module.parameters(), lr=0.0)
    binding = update_after_step(module, optimizer)
    module(x).square().mean().backward()
    optimizer.step()
    assert module.router.updates == 1
    binding.remove()


def test_without_an_optimiser_it_says_so() -> None:
    module, x = layer(), batches(2)
    module(x[0]).sum().backward()
    with pytest.warns(UserWarning, match="its bias is not updated; call layer.update"):
        module(x[1]).sum().backward()
    module.router.update()
    assert module.router.updates == 1


def test_the_bias_is_saved_and_no_buffer() -> None:
    module = layer()
    module.router.bias.fill_(0.5)
    saved = module.state_dict()
    assert torch.equal(saved["router.bias"], torch.full((N,), 0.5))
    assert "router.bias" not in dict(module.named_buffers())
    assert module.bfloat16().router.bias.dtype == torch.float32
    fresh = layer()
    fresh.load_state_dict(saved)
    assert fresh.router.bias.eq(0.5).all()


def test_the_bias_update_alone_balances_a_skewed_load() -> None:
    """Violation of the last 100 steps, and no dead expert: 70 % of the tokens are of one kind."""
    torch.manual_seed(0)
    router = BiasBalancedRouter(8, 8, 2, speed=5e-3)
    module = MixtureOfExperts(ExpertMLP(8, 8), 8, 2, router=router)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    total = torch.zeros(8)
    for step in range(600):
        x = torch.randn(256, 8) + 2.0 * (torch.rand(256, 1) < 0.7) * torch.linspace(-1, 1, 8)
        optimizer.zero_grad()
        (module(x) - x.flip(-1)).square().mean().backward()
        if step >= 500:
            counts = router.pending_counts()
            assert counts is not None
            total += counts
        optimizer.step()
    assert total.max() / total.mean() - 1 <= 0.15
    assert total.min() > 0


@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated")  # torch's own, traced
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # likewise
@pytest.mark.parametrize("router", [lambda: None, lambda: SwitchRouter(DIM, N, jitter=0.0)], ids=["bias", "switch"])
def test_compiled_graphs_count_as_eager_ones(router: Callable[[], Router | None]) -> None:
    """Two mixtures in one graph, as in a network; no graph break."""
    found = []
    for compiled in (False, True):
        network = nn.Sequential(layer(router()), nn.LayerNorm(DIM), layer(router()))
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        torch.compiler.reset()
        run = torch.compile(network, backend="aot_eager", fullgraph=True) if compiled else network
        for x in batches():
            optimizer.zero_grad()
            loss = run(x).square().mean() + routing_loss(network)
            loss.backward()
            optimizer.step()
        found.append([loss.detach(), *network.state_dict().values()])
        assert [int(each.updates) for each in network.modules() if isinstance(each, Router)] == [4, 4]
    for value, expected in zip(*found, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)


# Two ranks


ROUTERS: dict[str, Callable[[], Router]] = {
    "bias": lambda: BiasBalancedRouter(DIM, N, 2, speed=0.1, balance=0.5, z=0.1),
    "switch": lambda: SwitchRouter(DIM, N, jitter=0.0, balance=0.5, z=0.1),
    "sampled": lambda: SampledRouter(DIM, N, 1, balance=0.5),
}


def train(name: str, accumulate: int = 1) -> dict[str, Any]:
    """Four steps; each rank has its part of each batch. A rank may have no token of a batch."""
    module = layer(ROUTERS[name]())
    if name == "sampled":
        module.router.choice.eval()  # noise differs between ranks
    run = DistributedDataParallel(module) if world_size() > 1 else module
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    if world_size() > 1:
        update_after_step(module, optimizer)
    losses = []
    for x in batches(4):
        share = x.chunk(world_size())[rank()]
        optimizer.zero_grad()
        for part in share.chunk(accumulate):
            loss = (run(part).square().mean() + routing_loss(module)) / accumulate
            loss.backward()
        optimizer.step()
        losses.append(routing_loss(module).detach())
    return {"losses": torch.stack(losses), **module.state_dict()}


def on_a_rank() -> dict[str, Any]:
    found: dict[str, Any] = {name: train(name) for name in ROUTERS}
    module = layer()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.0)
    update_after_step(module, optimizer)
    module(batches(1)[0] if rank() == 0 else torch.zeros(0, DIM)).square().sum().backward()
    optimizer.step()
    found["a rank without a token"] = module.router.bias
    found["expected"] = moved(counts_of(layer().eval(), batches(1)[0]))
    return found


@pytest.fixture(scope="module")
def ranks() -> list[dict[str, Any]]:
    return run_on_ranks(on_a_rank)


@pytest.mark.parametrize("name", ROUTERS)
def test_two_ranks_are_one_process(ranks: list[dict[str, Any]], name: str) -> None:
    """Bias, counts, losses and weights after four steps; the biases to the bit on both ranks."""
    expected = train(name)
    for key, value in expected.items():
        assert torch.equal(ranks[0][name][key], ranks[1][name][key]), key
        torch.testing.assert_close(ranks[0][name][key], value, rtol=1e-5, atol=1e-6, msg=key)


def test_a_rank_without_a_token_joins(ranks: list[dict[str, Any]]) -> None:
    for found in ranks:
        assert torch.equal(found["a rank without a token"], found["expected"])


def test_the_balance_loss_sees_the_whole_window() -> None:
    """Under accumulation the share of each expert is that of all passes since the last step."""
    module = layer(SwitchRouter(DIM, N, jitter=0.0, balance=1.0))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.0)
    x = batches(3)
    for number in (0, 1):
        y = module(x[number])
        counts = sum(counts_of(module, x[each]) for each in range(number + 1))
        share = counts / counts.sum()  # type: ignore[union-attr]
        torch.testing.assert_close(
            routing_loss(module), N * (share * module.router(x[number]).probabilities.mean(0)).sum()
        )
        (y.square().mean() + routing_loss(module)).backward()
    optimizer.step()
    module(x[2])
    share = counts_of(module, x[2]) / 16
    torch.testing.assert_close(routing_loss(module), N * (share * module.router(x[2]).probabilities.mean(0)).sum())
