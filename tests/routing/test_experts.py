"""Experts: stacked weights and stacked modules are N functions, run on their rows."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from discrete_lightning.distributed import rank
from discrete_lightning.nn import update_after_step
from discrete_lightning.routing import ExpertMLP, Experts, MixtureOfExperts, StackedMLP, StackedModules, TopKRouter
from discrete_lightning.routing.experts.mlp import ACTIVATIONS
from tests.ranks import run_on_ranks
from tests.references.inputs import seeded
from tests.references.routing import all_outputs, dense_mixture

pytestmark = pytest.mark.filterwarnings("ignore:.*no optimiser trains what it computes from")
DIM = 4
ENDS = torch.tensor([3, 3, 10], dtype=torch.int32)


def module(norm: type[nn.Module] = nn.LayerNorm) -> nn.Module:
    return nn.Sequential(nn.Linear(DIM, 8), nn.GELU(), norm(8), nn.Linear(8, DIM))


def by_expert(outputs: Tensor) -> Tensor:
    """The rows' own outputs, of (rows, N, d); zeros behind the last end."""
    group = torch.searchsorted(ENDS, torch.arange(len(outputs), dtype=torch.int32), right=True)
    own = outputs[torch.arange(len(outputs)), group.clamp_max(2)]
    return torch.where((group < 3).unsqueeze(1), own, 0.0)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_stacked_weights(activation: str, bias: bool, gated: bool) -> None:
    experts = ExpertMLP(DIM, 8, activation, gated, bias).stacked(3)
    rows = torch.randn(12, DIM, generator=seeded(0)).requires_grad_()
    found, expected = experts(rows, ENDS), by_expert(all_outputs(experts, rows))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    parameters = [rows, *experts.parameters()]
    of_found, of_expected = (torch.autograd.grad(each.square().sum(), parameters) for each in (found, expected))
    for value, wanted in zip(of_found, of_expected, strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-5, atol=1e-5)


def test_stacked_modules() -> None:
    torch.manual_seed(0)
    modules = [module() for _ in range(3)]
    experts = StackedModules(modules, DIM)
    rows = torch.randn(12, DIM)
    expected = by_expert(torch.stack([each(rows) for each in modules], 1))
    torch.testing.assert_close(experts(rows, ENDS), expected, rtol=1e-5, atol=1e-6)
    experts(rows, ENDS).square().sum().backward()
    for each in experts.parameters():
        assert each.grad is not None
        assert each.shape[0] == 3
        assert each.grad[1].eq(0).all()  # no row
        assert each.grad[0].any()


def test_modules_are_copied_moved_and_switched_with_the_mixture() -> None:
    torch.manual_seed(0)
    layer = MixtureOfExperts(lambda: nn.Sequential(nn.Linear(DIM, DIM), nn.Dropout(0.5)), 3, 2)
    x = torch.randn(20, DIM)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))
    twin = copy.deepcopy(layer)
    assert torch.equal(twin(x), layer(x))
    fresh = MixtureOfExperts(lambda: nn.Sequential(nn.Linear(DIM, DIM), nn.Dropout(0.5)), 3, 2).eval()
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh(x), layer(x))
    assert layer.double()(x.double()).dtype == torch.float64


def test_given_weights_and_experts_of_ones_own() -> None:
    w_in, w_out = torch.randn(3, DIM, 8, generator=seeded(0)), torch.randn(3, 8, DIM, generator=seeded(1))
    experts = StackedMLP.from_weights(w_in, w_out, "relu")
    layer = MixtureOfExperts(experts, 3, 2)
    x = torch.randn(6, DIM, generator=seeded(2))
    torch.testing.assert_close(layer(x), dense_mixture(layer, x, layer.router(x)))

    class Scaled(Experts):
        def __init__(self) -> None:
            super().__init__()
            self.count, self.dim = 3, DIM

        def forward(self, rows: Tensor, ends: Tensor) -> Tensor:
            group = torch.searchsorted(ends, torch.arange(len(rows), dtype=torch.int32), right=True)
            return rows * group.unsqueeze(1)

    layer = MixtureOfExperts(Scaled(), 3, 1, router=TopKRouter(DIM, 3, 1, normalise=False))
    routed = layer.router(x)
    torch.testing.assert_close(layer(x), x * routed.indices * routed.gates)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ExpertMLP(0, 4), "dim >= 1"),
        (lambda: ExpertMLP(4, 4, "swish"), "one of gelu, relu"),
        (lambda: ExpertMLP(4, 4).stacked(0), "count >= 1"),
        (lambda: StackedMLP.from_weights(torch.zeros(2, 4, 8), torch.zeros(2, 4, 8)), r"\(N, d, h\) and \(N, h, d\)"),
        (lambda: StackedModules([], 4), "at least one module"),
        (lambda: StackedModules([module(nn.BatchNorm1d)], DIM), "take LayerNorm or RMSNorm"),
        (lambda: StackedModules([nn.Linear(DIM, 2)], DIM), "keeps the shape"),
    ],
)
def test_bad_input(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def on_a_rank() -> list[Tensor]:
    """DistributedDataParallel with its default settings: on each rank tokens go to other experts, or there are none."""
    torch.manual_seed(0)
    layer = MixtureOfExperts(module, 3, 1, router=TopKRouter(DIM, 3, 1, normalise=False, balance=0.0))
    run = DistributedDataParallel(layer)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    update_after_step(layer, optimizer)
    for step in range(3):
        x = torch.randn(2 * rank() * (step + 1), DIM, generator=seeded(step))  # none on rank 0
        optimizer.zero_grad()
        run(x).square().sum().backward()
        optimizer.step()
    return [each.detach() for each in layer.parameters()]


def test_no_parameter_is_unused_in_data_parallel_training() -> None:
    first, second = run_on_ranks(on_a_rank)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
