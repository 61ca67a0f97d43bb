"""What a router and the gate of a conditional block chose, for `ChoiceMonitor`: experts, and tokens that pass."""

from collections.abc import Mapping
from typing import Any

from discrete_lightning.layers.choices import Choices, choices_made
from discrete_lightning.routing.routed import Routed
from discrete_lightning.routing.router import Router
from discrete_lightning.routing.token_gate import Gated, TokenGate


@choices_made.register
def _(layer: Router, inputs: Mapping[str, Any], output: Routed) -> Choices:
    logits, mask = output.logits.detach(), inputs.get("mask")
    if output.taken is not None:  # their number varies: each expert is open to a token or not
        return Choices(output.taken, layer.count, None, mask)
    chosen = output.indices
    if chosen.shape[-1] > layer.k:  # a mixture of all: of a relaxed sample the largest entries count
        chosen = output.gates.detach().topk(layer.k, -1).indices
    return Choices(chosen, layer.count, logits, mask)


@choices_made.register
def _(layer: TokenGate, inputs: Mapping[str, Any], output: Gated) -> Choices:  # noqa: ARG001
    return Choices(output.open.unsqueeze(-1), 1, output.logits.detach().unsqueeze(-1), inputs.get("mask"))
