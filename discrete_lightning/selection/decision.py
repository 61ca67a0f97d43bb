"""Which gates to open within a budget: those of the largest scores, then exchanges until the budget is used up."""

from itertools import combinations

import torch
from torch import Tensor

from discrete_lightning.selection.gates.gate_layer import GateLayer
from discrete_lightning.selection.least_gates import Cost, least_gates, price_of

_USED = 5e-3  # a share of the budget that may be left
_ROUNDS = 4
_MOST = 4  # gates of a layer that are closed for others at once


class BudgetError(ValueError):
    """No decision of the gates meets the budget."""


class Decision:
    """The search for the gates to open: the longest run of the largest scores that fits, then others that still fit.

    Args:
        layers: that share the budget; those that are held stay as they are.
        cost: maps 0 and 1 of each layer to its cost, which grows with open gates.
        target: what it may cost.

    Raises:
        BudgetError: if it costs more with the least gates of each layer.
    """

    def __init__(self, layers: list[GateLayer], cost: Cost, target: float) -> None:
        self.layers, self.cost_of, self.target = layers, cost, target
        self.limit = target * (1 + 1e-6)
        self.scores = torch.cat([each.scores().cpu() for each in layers])
        self.sizes = [each.size for each in layers]
        held = torch.cat([torch.full((each.size,), each.held) for each in layers])
        self.start = torch.cat([each.cpu() for each in least_gates(layers, self.limit, cost).values()])
        self.free = ~self.start & ~held
        if (found := self.cost(self.start)) > self.limit:
            raise BudgetError(
                f"the budget is {target:g}, and with one gate left in each layer the cost is {found:g}: raise target"
            )
        # of each layer the gates that may open or close, the best first
        order = self.scores.argsort(descending=True, stable=True)
        self.order = order[self.free[order]]
        layer = torch.repeat_interleave(torch.arange(len(layers)), torch.tensor(self.sizes))
        self.lists = [self.order[layer[self.order] == i] for i in range(len(layers))]

    def cost(self, open: Tensor) -> float:
        """What gates cost together, bool (all gates)."""
        return price_of(self.parts(open), self.cost_of)

    def parts(self, open: Tensor) -> dict[GateLayer, Tensor]:
        """The gates of each layer."""
        split = open.split(self.sizes)
        return {layer: each.to(layer.decision.device) for layer, each in zip(self.layers, split, strict=True)}

    def best(self, exchange: bool) -> Tensor:
        """The decision, bool (all gates).

        Args:
            exchange: whether some gates may go for others of smaller scores that leave less of the budget.
        """
        low, high = 0, len(self.order)
        while low < high:  # the cost grows with the gates that are open
            middle = (low + high + 1) // 2
            tried = self.start.clone()
            tried[self.order[:middle]] = True
            low, high = (middle, high) if self.cost(tried) <= self.limit else (low, middle - 1)
        open = self.start.clone()
        open[self.order[:low]] = True
        open, cost = self._filled(open, deep=True)
        for _ in range(_ROUNDS if exchange else 0):
            if cost >= self.target * (1 - _USED) or bool(open[self.order].all()):
                break
            better = self._exchanged(open, cost)
            if better is None:
                break
            open, cost = better
        return self._filled(open, deep=True)[0]

    def _filled(self, open: Tensor, without: Tensor | None = None, deep: bool = False) -> tuple[Tensor, float]:
        """With the best gate of a layer opened as long as one fits; `deep`: or another one, where gates of a layer differ."""
        open, cost = open.clone(), self.cost(open)
        barred = set() if without is None else set(without.tolist())
        waiting = [[int(i) for i in each if not open[i] and int(i) not in barred] for each in self.lists]
        while cost < self.target * (1 - 1e-3):
            heads = sorted((each[0] for each in waiting if each), key=lambda i: -float(self.scores[i]))
            for i in heads:
                open[i] = True
                tried = self.cost(open)
                if tried <= self.limit:
                    cost = tried
                    next(each for each in waiting if each and each[0] == i).pop(0)
                    break
                open[i] = False
            else:
                if not deep or not heads:
                    break
                waiting = [each[1:] for each in waiting]
        return open, cost

    def _exchanged(self, open: Tensor, cost: float) -> tuple[Tensor, float] | None:
        """With some gates of one layer or two closed and others opened, so that less is left; None: there is none."""
        opened = [each[open[each]] for each in self.lists]
        singles = [each[-count:] for count in range(1, _MOST + 1) for each in opened if len(each) >= count]
        tried = singles + [torch.cat(pair).unique() for pair in combinations(singles, 2)][:200]
        found: list[tuple[bool, float, Tensor, float]] = []
        for closed in tried:
            other = open.clone()
            other[closed] = False
            filled, new = self._filled(other, closed)
            if new > cost:
                enough = new >= self.target * (1 - _USED)
                found.append((enough, float(self.scores[filled].sum()) if enough else new, filled, new))
                if enough and len(found) > len(singles):
                    break
        if not found:
            return None
        _, _, best, new = max(found, key=lambda each: each[:2])
        return best, new
