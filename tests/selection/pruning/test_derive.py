"""The derived network computes what the gated one does, for each topology; what cannot be derived is refused in one line."""

import copy
import pickle

import pytest
import torch
from torch import nn

from discrete_lightning.selection import Gate, gate_layers
from discrete_lightning.selection.derive import derive
from discrete_lightning.selection.ties import Part, TieError, tie
from tests.selection.pruning.networks import TOPOLOGIES, build, decide

DECISIONS = range(5)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_it_gives_what_the_gated_network_gives(name: str) -> None:
    for seed in DECISIONS:
        network, example = build(name, seed)
        decide(network, seed)
        derived = derive(network)
        torch.testing.assert_close(derived(example), network(example), rtol=1e-5, atol=1e-5)
        assert not gate_layers(derived)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_the_original_is_left_as_it_is(name: str) -> None:
    network, _ = build(name)
    decide(network, 2)
    before = copy.deepcopy(network.state_dict())
    derive(network)
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_copies_have_ties_of_their_own(name: str) -> None:
    network, example = build(name)
    decide(network, 3)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        torch.testing.assert_close(derive(twin, example)(example), network(example))


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_training_goes_on_with_fewer_weights(name: str) -> None:
    network, example = build(name)
    decide(network, 1)
    network.train()
    derived = derive(network, example)
    assert derived.training
    output = derived(example)
    if output.requires_grad:
        output.square().sum().backward()
        assert all(each.grad is None or each.grad.shape == each.shape for each in derived.parameters())


def test_closed_channels_are_gone() -> None:
    network, _ = build("conv_chain")
    gate: Gate = network[2]  # type: ignore[index,assignment]
    gate.decide(torch.tensor([True, False, True, False, False, True]))
    derived = derive(network)
    first, norm, gone, _, second = derived.children()
    assert (first.out_channels, norm.num_features, second.in_channels) == (3, 3, 3)
    assert first.weight.shape == (3, 2, 3, 3)
    assert norm.running_var.shape == (3,)
    assert second.weight.shape == (3, 3, 3, 3)
    assert type(gone) is nn.Identity


def test_a_closed_block_is_the_identity() -> None:
    network, example = build("blocks")
    decide(network, 0)
    network[2].gate.decide(torch.tensor([False]))
    derived = derive(network, example)
    assert [type(each).__name__ for each in derived.children()] == [
        "Linear",
        "_Residual",
        "Identity",
        "_Residual",
        "_Residual",
    ]


def test_shared_weights_stay_shared() -> None:
    embedding, first, head = nn.Embedding(7, 6), nn.Linear(6, 6), nn.Linear(6, 7, bias=False)
    head.weight = embedding.weight
    gate = tie(Gate(6), [embedding], consumers=[first, head])
    network = nn.ModuleList([embedding, gate, first, head])
    gate.decide(torch.arange(6) < 4)
    derived = derive(network)
    assert derived[0].weight is derived[3].weight
    assert derived[0].weight.shape == (7, 4)


def chain(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers)


def test_gates_without_a_tie_are_refused() -> None:
    with pytest.raises(TieError, match=r"'1' \(Gate\) is tied to no layers: name them by gate\.between"):
        derive(chain(nn.Linear(3, 4), Gate(4), nn.Linear(4, 1)))


def test_a_group_without_an_open_gate_is_refused() -> None:
    network, _ = build("mlp")
    network[2].decide(torch.zeros(8, dtype=torch.bool))
    with pytest.raises(TieError, match=r"'2' \(StochasticGate\) has no open gate"):
        derive(network)


def test_a_gate_before_its_norm_is_refused() -> None:
    a, n, b = nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1)
    with pytest.raises(TieError, match=r"'1' comes before its BatchNorm2d, which makes a constant of a closed entry"):
        derive(chain(a, Gate(4, dim=1).between(a, [n], b), n, b))


def test_with_an_example_what_makes_something_of_nothing_is_found() -> None:
    a, b = nn.Linear(3, 8), nn.Linear(8, 1)
    network = chain(a, Gate(8).between(a, [], b), nn.Sigmoid(), b)
    network[1].decide(torch.arange(8) < 5)
    with pytest.raises(TieError, match="the derived network gives something else"):
        derive(network, torch.randn(4, 3))


def test_with_an_example_a_forgotten_norm_is_found() -> None:
    a, n, b = nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)
    network = chain(a, n, Gate(8).between(a, [], b), b)
    network[2].decide(torch.arange(8) < 5)
    with pytest.raises(TieError, match="a layer between is not among the ties"):
        derive(network, torch.randn(4, 3))
    assert network.training


def test_a_tie_to_a_layer_elsewhere_is_refused() -> None:
    a, b = nn.Linear(3, 8), nn.Linear(8, 1)
    network = chain(a, Gate(8).between(a, [], b), nn.Linear(8, 1))
    with pytest.raises(TieError, match="'1' is tied to a Linear that is not in the network"):
        derive(network)


def test_two_gates_on_the_same_entries_are_refused() -> None:
    a, b = nn.Linear(3, 8), nn.Linear(8, 1)
    network = chain(a, Gate(8).between(a, [], b), Gate(8).between(a, [], b), b)
    with pytest.raises(TieError, match="'2' and '1' switch the same entries of '0'"):
        derive(network)


def test_parametrised_weights_are_refused() -> None:
    a, b = nn.utils.parametrizations.weight_norm(nn.Linear(3, 8)), nn.Linear(8, 1)
    with pytest.raises(TieError, match="'0' has parametrised weights: call remove_parametrizations first"):
        derive(chain(a, Gate(8).between(a, [], b), b))


LAYERS = nn.Linear(6, 4), nn.Linear(4, 6)


@pytest.mark.parametrize(
    ("tied", "message"),
    [
        (lambda: Gate(5).between(LAYERS[0], [], LAYERS[1]), "5 gates of width 1 do not fit the 4 outputs of Linear"),
        (lambda: Gate(4).between(LAYERS[0], [], LAYERS[0]), "4 gates of width 1 do not fit the 6 inputs of Linear"),
        (lambda: tie(Gate(4), consumers=[Part(LAYERS[0], 3)]), "do not fit the 6 inputs of Linear from entry 3 on"),
        (lambda: Gate(4).between(LAYERS[0], [nn.LayerNorm(4)], LAYERS[1]), "LayerNorm mixes the entries"),
        (lambda: Gate(4).between(nn.Tanh(), [], LAYERS[1]), "Tanh cannot lose entries as a producer"),
        (lambda: Gate(4).between(nn.Conv2d(4, 4, 1, groups=2), [], LAYERS[1]), "Conv2d has 2 groups"),
        (lambda: tie(Gate(4), [LAYERS[0]]), "tied to no consumer"),
        (lambda: tie(Gate(4), block=nn.Tanh()), "a block is switched by one gate"),
        (lambda: Gate(2, width=2).between(LAYERS[0], [nn.BatchNorm1d(6)], LAYERS[1]), "6 entries of BatchNorm1d"),
    ],
)
def test_ties_that_do_not_fit_are_refused_where_they_are_made(tied: object, message: str) -> None:
    with pytest.raises(TieError, match=message) as caught:
        tied()  # type: ignore[operator]
    assert "\n" not in str(caught.value)
