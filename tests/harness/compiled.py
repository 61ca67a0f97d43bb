"""torch.compile over a layer: values, gradients and state as in an eager run of the same steps."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from discrete_lightning import distributed
from tests.tables.makers import LAYERS, Layer, Network, train


@contextmanager
def as_if_traced() -> Iterator[None]:
    """Inside, eager functions take the branches that a compiler sees, where noise is drawn another way."""
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith("discrete_lightning.functional.") and hasattr(module, "is_traced"):
                patch.setattr(module, "is_traced", lambda: True)
        patch.setattr(distributed, "is_compiling", lambda: True)
        yield


def state(network: torch.nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers, those that are not saved included."""
    return {name: value.detach().clone() for name, value in [*network.named_parameters(), *network.named_buffers()]}


def eager_and_compiled(
    layer: Layer, backend: str = "aot_eager", steps: int = 3, noise_in_graph: bool = True
) -> tuple[Any, Any, int]:
    """(results of each step, state) of an eager run and of a compiled one, and the number of graph breaks.

    Args:
        layer: of the table.
        backend: of torch.compile.
        steps: of training.
        noise_in_graph: whether the layer's noise is drawn by compiled code.
    """
    eager = Network(layer.build())
    with as_if_traced() if noise_in_graph else nullcontext():
        expected = train(eager, layer, steps), state(eager)
    torch._dynamo.reset()
    counters.clear()
    network = Network(layer.build())
    found = train(network, layer, steps, run=torch.compile(network, backend=backend)), state(network)
    return expected, found, sum(counters["graph_break"].values())


def on_ranks(names: list[str]) -> dict[str, dict[str, Any]]:
    """Of each layer on one rank: results of a step, graph breaks, and what the default generator gives afterwards."""
    found = {}
    for name in names:
        expected, compiled, breaks = eager_and_compiled(LAYERS[name], "eager", steps=1)
        found[name] = {"eager": expected[0], "compiled": compiled[0], "breaks": breaks, "default": torch.rand(3)}
    return found
