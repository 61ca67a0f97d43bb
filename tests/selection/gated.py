"""Networks of gates with scattered locations, and prices of gates."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from discrete_lightning.selection import Gate, GateLayer, gate_layers
from tests.references.inputs import seeded
from tests.selection.gates.makers import location


def scattered(gate: GateLayer, seed: int = 0) -> GateLayer:
    with torch.no_grad():
        location(gate).copy_(torch.randn(gate.size, generator=seeded(seed)))
    return gate


def network(*sizes: int, kind: type[GateLayer] = Gate) -> nn.ModuleDict:
    return nn.ModuleDict({f"g{i}": scattered(kind(size), i) for i, size in enumerate(sizes)})  # type: ignore[arg-type]


def layers(module: nn.Module) -> list[GateLayer]:
    return list(gate_layers(module).values())


def number_open(module: nn.Module) -> list[int]:
    return [int(each.open().sum()) for each in layers(module)]


PRICES = torch.tensor([5.0, 1.0, 2.0, 0.5, 4.0, 3.0, 1.5, 2.5])


def priced(chances: Mapping[GateLayer, Tensor]) -> Tensor:
    return torch.stack([(each * PRICES[: len(each)]).sum() for each in chances.values()]).sum()
