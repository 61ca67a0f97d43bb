"""The gates that no layer can do without, within a budget."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from discrete_lightning.selection.gates.gate_layer import GateLayer

Cost = Callable[[Mapping[GateLayer, Tensor]], Tensor]


@torch.no_grad()
def least_gates(layers: Sequence[GateLayer], limit: float, cost: Cost) -> dict[GateLayer, Tensor]:
    """Only the gates that no layer can do without: its `least` best ones; where these cost too much, the best within the limit.

    Args:
        layers: with gates; those that are held stay as they are.
        limit: what they may cost. If nothing is within it, the cheapest ones are returned.
        cost: maps 1 (open) or 0 of each layer to a 0-dim tensor; it grows with the gates that are open.

    Returns:
        bool (D,) of each layer.
    """
    chosen = {each: each.open() if each.held else _top(each, each.scores()) for each in layers}
    if price_of(chosen, cost) <= limit:
        return chosen
    free = [each for each in layers if not each.held and each.least]
    for layer in free:
        chosen[layer] = _top(layer, -_prices(layer, chosen, cost))
    if price_of(chosen, cost) > limit:
        return chosen
    for layer in free:
        _improve(layer, chosen, limit, cost)
    return chosen


def price_of(open: Mapping[GateLayer, Tensor], cost: Cost) -> float:
    """The cost of the gates that are open, bool (D,) of each layer."""
    return float(cost({layer: each.to(layer.decision.device).float() for layer, each in open.items()}))


def _prices(layer: GateLayer, chosen: Mapping[GateLayer, Tensor], cost: Cost) -> Tensor:
    """What each gate of a layer costs, alone in it."""
    one = torch.eye(layer.size, dtype=torch.bool, device=layer.decision.device)
    return torch.tensor([price_of({**chosen, layer: each}, cost) for each in one])


def _improve(layer: GateLayer, chosen: dict[GateLayer, Tensor], limit: float, cost: Cost) -> None:
    """Exchanges gates of one layer for better ones within the limit."""
    order = layer.scores().argsort(descending=True, stable=True).tolist()
    kept = 0
    for place, each in enumerate(order):
        if kept == layer.least:
            return
        if not chosen[layer][each]:
            tried = chosen[layer].clone()
            tried[next(i for i in reversed(order[place:]) if tried[i])] = False
            tried[each] = True
            if price_of({**chosen, layer: tried}, cost) > limit:
                continue
            chosen[layer] = tried
        kept += 1


def _top(layer: GateLayer, values: Tensor) -> Tensor:
    """The `least` gates of the largest values."""
    open = torch.zeros(layer.size, dtype=torch.bool, device=layer.decision.device)
    return open.index_fill(0, values.argsort(descending=True, stable=True)[: layer.least].to(open.device), True)
