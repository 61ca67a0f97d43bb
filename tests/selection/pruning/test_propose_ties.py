"""Ties read off the graph are those that a user names; what is not followed is said."""

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.selection import Gate, gate_layers
from discrete_lightning.selection.derive import derive
from discrete_lightning.selection.propose_ties import propose_ties, set_ties
from discrete_lightning.selection.ties import TieError
from tests.selection.pruning.networks import build, decide


@pytest.mark.parametrize(
    "name", ["conv_chain", "strided_without_norm", "one_dimension", "transposed", "mlp", "flattened", "residual_stage"]
)
def test_they_are_those_that_were_named(name: str) -> None:
    network, example = build(name)
    layers = gate_layers(network)
    named = {key: each.tie for key, each in layers.items()}
    for each in layers.values():
        each.tie = None
    found = propose_ties(network)
    assert set(found) == set(layers)
    for key, expected in named.items():
        for side in ("producers", "norms", "consumers"):
            assert set(getattr(found[key], side)) == set(getattr(expected, side)), (key, side)
    set_ties(network, found)
    decide(network, 3)
    torch.testing.assert_close(derive(network, example)(example), network(example))


def test_gates_with_a_tie_are_left_out() -> None:
    network, _ = build("mlp")
    assert propose_ties(network) == {}


class _Doubled(nn.Module):
    def __init__(self, double: bool) -> None:
        super().__init__()
        self.first, self.gate, self.last = nn.Linear(3, 4), Gate(4), nn.Linear(8 if double else 4, 1)
        self.double = double

    def forward(self, x: Tensor) -> Tensor:
        x = self.gate(self.first(x))
        return self.last(torch.cat([x, x], -1)) if self.double else self.last(x.sigmoid())


class _Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (_Doubled(True), "'gate' reaches cat, where entries are not followed"),
        (_Doubled(False), "'gate' reaches sigmoid, where entries are not followed"),
        (nn.Sequential(Gate(3), nn.Linear(3, 1)), "'0' reaches input_1"),
        (nn.Sequential(nn.Linear(3, 3), Gate(3)), "'1' reaches output"),
        (
            nn.Sequential(nn.Linear(3, 3), Gate(3), nn.BatchNorm1d(3), nn.Linear(3, 3)),
            r"'1' reaches _2 \(a BatchNorm1d behind the gates\)",
        ),
        (_Branching(), "torch.fx cannot trace _Branching"),
    ],
)
def test_what_is_not_followed_is_said(network: nn.Module, message: str) -> None:
    with pytest.raises(TieError, match=message) as caught:
        propose_ties(network)
    assert "\n" not in str(caught.value)


class _Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.unused = nn.Linear(3, 3), Gate(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def test_gates_that_are_not_called_are_told() -> None:
    with pytest.raises(TieError, match="'unused' is not called"):
        propose_ties(_Unused())
