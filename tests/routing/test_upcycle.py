"""Mixtures that go on from a dense module."""

import pytest
import torch
from torch import nn

from discrete_lightning.estimators import ReinMax
from discrete_lightning.routing import StackedMLP, StackedModules, upcycle
from tests.references.inputs import seeded

DIM = 8


def dense(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "mlp":
        return nn.Sequential(nn.Linear(DIM, 16), nn.GELU(), nn.Linear(16, DIM))
    if kind == "without bias":
        return nn.Sequential(nn.Linear(DIM, 16, bias=False), nn.SiLU(), nn.Linear(16, DIM, bias=False))
    if kind == "approximate":
        return nn.Sequential(nn.Linear(DIM, 16), nn.GELU(approximate="tanh"), nn.Linear(16, DIM))
    return nn.Sequential(nn.LayerNorm(DIM), nn.Linear(DIM, 16), nn.GELU(), nn.Linear(16, DIM))


@pytest.mark.parametrize("router", ["bias_balanced", "top_k", "noisy_top_k", "paired", ReinMax()], ids=str)
@pytest.mark.parametrize("kind", ["mlp", "without bias", "approximate", "with a norm"])
def test_the_first_output_is_that_of_the_dense_module(kind: str, router: str) -> None:
    module, x = dense(kind), torch.randn(3, 5, DIM, generator=seeded(1))
    layer = upcycle(module, count=4, k=2, router=router, dim=DIM)
    is_plain = kind in ("mlp", "without bias")
    assert isinstance(layer.experts, StackedMLP if is_plain else StackedModules)
    torch.testing.assert_close(layer(x), module(x), rtol=1e-5, atol=1e-6)
    before = [each.clone() for each in module.parameters()]
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    layer(x).square().mean().backward()
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))  # they are copies
    assert not torch.allclose(layer.eval()(x), module(x))


def test_it_keeps_dtype_and_mode() -> None:
    layer = upcycle(dense("mlp").double().eval(), count=4, k=2)
    assert layer.experts.w_in.dtype == torch.float64
    assert not layer.training


@pytest.mark.parametrize("router", ["expert_choice", "remoe"])
def test_gates_that_do_not_sum_to_one_are_refused(router: str) -> None:
    with pytest.raises(ValueError, match="do not sum to 1"):
        upcycle(dense("mlp"), count=4, k=2, router=router, tokens="bidirectional")
    with pytest.raises(ValueError, match="do not sum to 1"):
        upcycle(dense("mlp"), count=4, k=1, router="switch")


def test_a_module_that_changes_the_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="8 go in, 9 come out"):
        upcycle(nn.Sequential(nn.Linear(DIM, 16), nn.GELU(), nn.Linear(16, DIM + 1)))
