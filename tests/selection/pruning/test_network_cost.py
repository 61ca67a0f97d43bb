"""What gates cost is what the derived network costs, to the last operation; expected costs are means over draws."""

import itertools

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from discrete_lightning.selection import BudgetController, Gate, deployed_cost, gate_layers
from discrete_lightning.selection.derive import derive
from discrete_lightning.selection.network_cost import NetworkCost, Unit, count_flops, count_parameters
from discrete_lightning.selection.ties import TieError
from tests.selection.pruning.networks import TOPOLOGIES, build, decide


def counted(network: nn.Module, example: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        network(example)
    return counter.get_total_flops()


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_a_decision_costs_what_the_derived_network_costs(name: str) -> None:
    network, example = build(name)
    flops, parameters = NetworkCost(network, example), NetworkCost(network, unit="parameters")
    assert flops.dense == counted(network, example)
    for seed in range(8):
        decide(network, seed)
        derived = derive(network)
        assert deployed_cost(network, flops) == counted(derived, example) == count_flops(derived, example)
        assert deployed_cost(network, parameters) == sum(each.numel() for each in derived.parameters())
        assert count_parameters(derived) == sum(each.numel() for each in derived.parameters())


@pytest.mark.parametrize("unit", ["flops", "parameters"])
@pytest.mark.parametrize("name", TOPOLOGIES)
def test_the_expectation_is_exact_for_independent_gates(name: str, unit: Unit) -> None:
    """By all decisions of at most 6 gates, each with its probability; the other gates are open."""
    network, example = build(name)
    cost = NetworkCost(network, example, unit)
    layers = list(gate_layers(network).values())
    places = [(layer, i) for layer in layers for i in range(layer.size)]
    generator = torch.Generator().manual_seed(1)
    chosen = [places[int(i)] for i in torch.randperm(len(places), generator=generator)[:6]]
    chances = {each: torch.ones(each.size, dtype=torch.float64) for each in layers}
    for layer, i in chosen:
        chances[layer][i] = torch.rand((), generator=generator, dtype=torch.float64)
    mean = torch.zeros((), dtype=torch.float64)
    for code in range(2 ** len(chosen)):
        drawn = {each: values.clone() for each, values in chances.items()}
        probability = torch.ones((), dtype=torch.float64)
        for bit, (layer, i) in enumerate(chosen):
            z = float(code >> bit & 1)
            probability = probability * (chances[layer][i] if z else 1 - chances[layer][i])
            drawn[layer][i] = z
        mean = mean + probability * cost(drawn)
    torch.testing.assert_close(cost(chances), mean, rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", ["conv_chain", "heads", "residual_stage", "blocks"])
def test_it_has_a_gradient_for_all_gates(name: str) -> None:
    network, example = build(name)
    chances = {each: each.open_probability() for each in gate_layers(network).values()}
    NetworkCost(network, example)(chances).backward()
    for each in gate_layers(network).values():
        assert (next(each.parameters()).grad > 0).all()  # type: ignore[operator]


@pytest.mark.parametrize("name", ["flattened", "residual_stage", "blocks"])
def test_the_mode_and_the_hooks_are_as_before(name: str) -> None:
    network, example = build(name)
    network.train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    NetworkCost(network, example)
    assert all(each.training and not each._forward_hooks for each in network.modules())
    torch.testing.assert_close(dict(network.state_dict()), before, rtol=0, atol=0)


def test_half_the_heads() -> None:
    network, example = build("heads")
    controller = BudgetController(0.5, scope="layer")
    controller.check(network)
    controller.decide(network)
    derived = derive(network, example)
    assert derived[1].qkv[0].out_features == 12
    assert derived[1].out.in_features == 4


def test_what_is_wrong_is_told() -> None:
    network, example = build("mlp")
    with pytest.raises(ValueError, match="unit must be 'flops' or 'parameters'"):
        NetworkCost(network, example, "seconds")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="FLOPs are those of a pass: give an example"):
        NetworkCost(network)
    with pytest.raises(ValueError, match="Linear has no gates"):
        NetworkCost(nn.Linear(2, 2), unit="parameters")
    with pytest.raises(ValueError, match="has none of 2, 5"):
        NetworkCost(network, example)({})
    with pytest.raises(TieError, match="tied to no layers"):
        NetworkCost(nn.Sequential(Gate(3), nn.Linear(3, 2)), unit="parameters")


def convolutions(seed: int) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    sizes = [1, 16, 32, 64]
    convs = [nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(sizes)]
    head = nn.Linear(64, 10)
    for conv, after in zip(convs, [*convs[1:], head], strict=True):
        norm, size = nn.BatchNorm2d(conv.out_channels), conv.out_channels
        gate = Gate(size, dim=1).between(conv, [norm], after)
        nn.init.normal_(gate.logits)
        layers += [conv, norm, gate, nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head), torch.randn(1, 1, 28, 28)


@pytest.mark.parametrize("unit", ["flops", "parameters"])
@pytest.mark.parametrize("target", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9])
def test_the_derived_network_uses_up_its_budget(target: float, unit: Unit) -> None:
    """Within 1 % below, for eight targets; with and without scores that agree."""
    for seed in range(2):
        network, example = convolutions(seed)
        cost = NetworkCost(network, example, unit)
        controller = BudgetController(target, cost=cost)
        controller.check(network)
        controller.decide(network)
        derived = derive(network, example)
        found = count_flops(derived, example) if unit == "flops" else count_parameters(derived)
        assert 0.99 * target <= found / cost.dense <= target
