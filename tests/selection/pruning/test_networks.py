"""The networks that come with gates: derived exactly, by any kind of gates; and described by plain data."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from discrete_lightning.layers.recorded import made, recorded
from discrete_lightning.nn import DerivedNetwork, GatedConvNet, GatedTransformer
from discrete_lightning.selection import (
    Gate,
    HardConcrete,
    NetworkCost,
    StochasticGate,
    count_flops,
    count_parameters,
    deployed_cost,
    derive,
    gate_layers,
)
from discrete_lightning.selection.gates.by_word import gate_of
from tests.selection.pruning.networks import decide

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "conv": lambda: GatedConvNet([5, 6, 7], image_shape=(2, 9, 8), classes=3),
    "transformer": lambda: GatedTransformer(11, 6, 8, 4, 10, 2, gate="ReinMax"),
    "transformer_blocks": lambda: GatedTransformer(11, 6, 8, 4, 10, 2, gate="stochastic", blocks=True),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_they_are_derived_exactly(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]().double().eval()
    example = network.example
    inputs = torch.randn(3, *example.shape[1:], dtype=torch.float64)
    inputs = inputs if example.is_floating_point() else torch.randint(11, (3, 6))
    flops, parameters = NetworkCost(network, example), NetworkCost(network, unit="parameters")
    for seed in range(6):
        decide(network, seed)
        derived = derive(network, inputs)
        torch.testing.assert_close(derived(inputs), network(inputs), rtol=1e-5, atol=1e-5)
        assert deployed_cost(network, flops) == count_flops(derived, example)
        assert deployed_cost(network, parameters) == count_parameters(derived)


def test_without_gates_it_is_the_plain_network() -> None:
    assert not gate_layers(GatedConvNet([3, 4], gate=None))


@pytest.mark.parametrize(
    ("word", "kind"),
    [("hard_concrete", HardConcrete), ("stochastic", StochasticGate), ("bernoulli", Gate), ("GumbelSoftmax", Gate)],
)
def test_gates_by_one_word(word: str, kind: type) -> None:
    assert type(gate_of(word, 3)) is kind


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gate_of("lasso", 3), "gate must be one of stochastic, .* got 'lasso'"),
        (lambda: GatedConvNet([3], "LeaveOneOut"), "needs the loss's value"),
        (lambda: gate_of("stochastic", 3, drop=0.1), "StochasticGate has no option drop: its options are dim"),
        (lambda: GatedConvNet([]), "channels is empty"),
        (lambda: GatedConvNet([3, 0]), r"channels\[1\] must be at least 1"),
        (lambda: GatedTransformer(dim=6, heads=4), "dim must be a multiple of heads, got dim=6, heads=4"),
        (
            lambda: GatedTransformer(context=4)(torch.zeros(1, 5, dtype=torch.int64)),
            "sequences of at most context=4 tokens, and the data serves 5",
        ),
    ],
)
def test_what_is_wrong_is_told(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


DECISION = {"stages.0.2": [0, 3], "stages.1.2": [1, 2, 5]}


def test_a_derived_network_is_made_again_from_plain_data() -> None:
    network = DerivedNetwork(GatedConvNet([4, 8], gate="ReinMax"), DECISION)
    again = made(json.loads(json.dumps(recorded(network))))
    again.load_state_dict(network.state_dict())
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(again.eval()(images), network.eval()(images))
    assert torch.equal(again.example, torch.zeros(1, 1, 28, 28))


def test_a_derived_network_takes_its_weights_and_decision_from_files(tmp_path: Path) -> None:
    network = DerivedNetwork(GatedConvNet([4, 8]), DECISION)
    torch.save(network.derived.state_dict(), tmp_path / "network.pt")
    (tmp_path / "pruned.json").write_text(json.dumps({"decision": DECISION}))
    files = str(tmp_path / "pruned.json"), str(tmp_path / "network.pt")
    other = DerivedNetwork(GatedConvNet([4, 8]), *files)
    torch.testing.assert_close(other.state_dict(), network.state_dict(), rtol=0, atol=0)
    (tmp_path / "pruned.json").unlink()
    assert made(recorded(other)).derived.head.in_features == 3  # the files are not needed again


def test_files_of_another_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the decision is of the gates a, and GatedConvNet has stages"):
        DerivedNetwork(GatedConvNet([4, 8]), {"a": [1]})
    with pytest.raises(ValueError, match=r"stages\.0\.2 has the gates 0 to 3, and the decision opens \[4\]"):
        DerivedNetwork(GatedConvNet([4, 8]), DECISION | {"stages.0.2": [4]})
    file = tmp_path / "file"
    with pytest.raises(ValueError, match=r"cannot be read .*: give the pruned\.json of a run"):
        DerivedNetwork(GatedConvNet([4, 8]), str(file))
    file.write_text("[]")
    with pytest.raises(ValueError, match="holds no decision of gates"):
        DerivedNetwork(GatedConvNet([4, 8]), str(file))
    with pytest.raises(ValueError, match=r"cannot be read .*: give the network\.pt of a run"):
        DerivedNetwork(GatedConvNet([4, 8]), DECISION, str(file))
    torch.save(GatedConvNet([4, 8], gate=None).state_dict(), file)
    with pytest.raises(ValueError, match="holds the weights of another network"):
        DerivedNetwork(GatedConvNet([4, 8]), DECISION, str(file))


@pytest.mark.parametrize(("word", "expected"), [("bernoulli", 0.9), ("stochastic", 0.9), ("hard_concrete", 0.978)])
def test_how_open_gates_are_at_first(word: str, expected: float) -> None:
    torch.manual_seed(0)
    assert gate_of(word, 500, 0.9).open_probability().mean().item() == pytest.approx(expected, abs=3e-3)
    with pytest.raises(ValueError, match=r"open is a probability in \(0, 1\), got 1"):
        gate_of(word, 3, 1.0)
