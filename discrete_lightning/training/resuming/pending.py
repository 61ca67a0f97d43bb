"""What was computed for a step of an optimiser that has not been made: gradients, and statistics of layers."""

from typing import Any

import torch
from torch import nn

from discrete_lightning.layers.updated_layer import UpdatedLayer


def pending(module: nn.Module) -> dict[str, Any]:
    """The gradients of the parameters, and what layers such as codebooks have collected, by name."""
    gradients = {name: each.grad.cpu() for name, each in module.named_parameters() if each.grad is not None}
    return {"gradients": gradients} | pending_statistics(module)


def pending_statistics(module: nn.Module) -> dict[str, Any]:
    """What layers have collected, by name."""
    found = {name: each.pending() for name, each in module.named_modules() if isinstance(each, UpdatedLayer)}
    return {"statistics": {name: state for name, state in found.items() if state is not None}}


@torch.no_grad()
def set_pending(module: nn.Module, state: dict[str, Any]) -> None:
    """Restores `pending`."""
    parameters, layers = dict(module.named_parameters()), dict(module.named_modules())
    for name, gradient in state.get("gradients", {}).items():
        if name in parameters:
            parameters[name].grad = gradient.to(parameters[name].device)
    for name, each in state["statistics"].items():
        layer = layers.get(name)
        if isinstance(layer, UpdatedLayer):
            layer.set_pending(each)
