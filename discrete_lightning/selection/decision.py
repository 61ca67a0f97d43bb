"""Which gates to open: the best by their scores whose cost meets a budget."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from discrete_lightning.selection.gates.gate_layer import GateLayer

Cost = Callable[[Mapping[GateLayer, Tensor]], Tensor]


class BudgetError(ValueError):
    """No decision of the gates meets the budget."""


@torch.no_grad()
def best_gates(layers: Sequence[GateLayer], target: float, cost: Cost) -> dict[GateLayer, Tensor]:
    """The gates of the largest scores that meet the target: the longest run of them, then others that still fit.

    Args:
        layers: with gates; those that are held stay as they are.
        target: what the open gates may cost.
        cost: maps 1 (open) or 0 of each layer to a 0-dim tensor; it grows with the gates that are open.

    Returns:
        bool (D,) of each layer.

    Raises:
        BudgetError: if the gates that no layer can do without cost more.

    Example:
        >>> from discrete_lightning.selection.gates import Gate
        >>> gate = Gate(3)
        >>> _ = gate.logits.data.copy_(torch.tensor([0.3, 0.1, 0.2]))
        >>> best_gates([gate], 2, lambda open: open[gate].sum())[gate]
        tensor([ True, False,  True])
    """
    scores = torch.cat([each.scores().cpu() for each in layers])
    held = torch.cat([torch.full((each.size,), each.held) for each in layers])
    sizes, limit = [each.size for each in layers], target * (1 + 1e-6)
    fixed = torch.cat([each.cpu() for each in least_gates(layers, limit, cost).values()])

    def price(open: Tensor) -> float:
        return price_of(dict(zip(layers, open.split(sizes), strict=True)), cost)

    if price(fixed) > limit:
        raise BudgetError(
            f"the budget is {target:g}, and with one gate left in each layer the cost is {price(fixed):g}: raise target"
        )
    order = [int(i) for i in scores.argsort(descending=True, stable=True) if not fixed[i] and not held[i]]
    low, high = 0, len(order)
    while low < high:  # the cost grows with the gates that are open
        middle = (low + high + 1) // 2
        tried = fixed.clone()
        tried[order[:middle]] = True
        low, high = (middle, high) if price(tried) <= limit else (low, middle - 1)
    fixed[order[:low]] = True
    for each in order[low:]:
        if price(fixed) >= target * (1 - 1e-3):
            break
        fixed[each] = True
        if price(fixed) > limit:
            fixed[each] = False
    return {layer: part.to(layer.decision.device) for layer, part in zip(layers, fixed.split(sizes), strict=True)}


@torch.no_grad()
def least_gates(layers: Sequence[GateLayer], limit: float, cost: Cost) -> dict[GateLayer, Tensor]:
    """Only the gates that no layer can do without: its `least` best ones; where these cost too much, the best within the limit.

    Args:
        layers: with gates; those that are held stay as they are.
        limit: what they may cost. If nothing is within it, the cheapest ones are returned.
        cost: as of `best_gates`.

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
