"""A budget for gates: "5 open", "30 % of the FLOPs", met exactly by what is deployed.

The expected cost C of the gates is led to a target that falls from the cost of all gates to the budget T:

    weight = clip(lambda + rho e, 0, most),   lambda <- clip(lambda + eta e, 0, most),   e = (C - C*) / C*
    the gates' gradient is that of   loss + weight * C / C*;   C* falls from the dense cost as dense (T / dense)^share

a proportional and integral controller of the Lagrange multiplier (Stooke et al. 2020, https://arxiv.org/abs/2007.03964).
Gates that are closed before the network has learned anything never return, so the run is dense first; then C* falls; then the
gates are decided by their order and number, so that the deployed cost is T, and held while the network learns on.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, TypeVar, get_args

import torch
from torch import Tensor, nn

from discrete_lightning.functional._arguments import check_not_negative, check_positive
from discrete_lightning.selection.decision import BudgetError, Decision
from discrete_lightning.selection.gates.gate_layer import GateLayer
from discrete_lightning.selection.gates.select_k import SelectK
from discrete_lightning.selection.least_gates import Cost, least_gates, price_of

Scope = Literal["whole", "layer"]
_T = TypeVar("_T")


def gate_layers(module: nn.Module) -> dict[str, GateLayer]:
    """The layers of gates in a module, by name; a shared one appears once."""
    return {name: each for name, each in module.named_modules() if isinstance(each, GateLayer)}


def open_gates(probabilities: Mapping[GateLayer, Tensor]) -> Tensor:
    """The cost that counts gates: the (expected) number of open ones, 0-dim float32.

    Args:
        probabilities: P(open) of each layer, float32 (D,); 0 and 1 for a decision.
    """
    return torch.stack([each.sum() for each in probabilities.values()]).sum()


def expected_cost(module: nn.Module, cost: Cost = open_gates) -> Tensor:
    """The expected cost of the gates of a module, 0-dim float32, with a gradient: a penalty for the loss.

    Args:
        module: with gates.
        cost: maps P(open) of each layer to a number. It is exact for independent gates if no gate occurs twice in a product.

    Raises:
        ValueError: if the module has no gates.

    Example:
        >>> from discrete_lightning.selection.gates import HardConcrete
        >>> round(expected_cost(HardConcrete(10)).item(), 1)
        8.3
    """
    return cost({each: _chance(each) for each in _some(gate_layers(module).values(), module)})


@torch.no_grad()
def deployed_cost(module: nn.Module, cost: Cost = open_gates) -> float:
    """The cost of the gates that are open in eval()."""
    return float(cost({each: each.open().float() for each in _some(gate_layers(module).values(), module)}))


class BudgetController:
    """Leads the gates of a module to a budget, in a loop of any kind; the callback `Budget` does so in Lightning.

    Once a step, between `backward` and the optimiser's step: `controller.add_gradient(module, progress)`. At the end, and
    before an evaluation: `controller.decide(module)`. `SelectK` layers need no gradient: their k follows the target.

    Args:
        target: the budget: an int is a cost (5 open gates); a float in (0, 1) is a share of the cost of all gates.
        cost: what is counted: maps P(open) of each layer to a 0-dim tensor; by default the number of open gates.
        scope: "whole": the layers share one budget; "layer": each meets its own share or number of open gates.
        start: share of the run, in [0, 1), after which the target begins to fall from the cost of all gates.
        end: share of the run at which it has arrived, in (start, 1].
        settle: share of the run from which the gates are decided and held, so that the network learns what is deployed.
        integral: eta, >= 0.
        proportional: rho, >= 0.
        most: the largest weight, > 0.
        two_sided: whether gates are opened, too, while their expected cost is below the target (weights down to -most), from
            the first step on: where their gradient is so noisy that they would close before the target falls.

    Attributes:
        multipliers: lambda of each budget, by name; they belong to the state of a run.
        weights: the weight of each budget in the last step, by name.
        expected: the expected cost before the last step, by name.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> from discrete_lightning.selection.gates import Gate
        >>> gates = Gate(10)
        >>> controller = BudgetController(target=3)
        >>> gates.logits.grad = torch.zeros(10)
        >>> controller.add_gradient(gates, progress=0.75)
        >>> bool((gates.logits.grad > 0).all())
        True
        >>> controller.decide(gates)
        >>> int(gates.open().sum())
        3
    """

    def __init__(
        self,
        target: float,
        cost: Cost = open_gates,
        scope: Scope = "whole",
        start: float = 0.25,
        end: float = 0.75,
        settle: float = 0.85,
        integral: float = 0.01,
        proportional: float = 1.0,
        most: float = 100.0,
        two_sided: bool = False,
    ) -> None:
        if isinstance(target, bool) or not (target > 0 and (isinstance(target, int) or target < 1)):
            raise ValueError(
                f"target is a cost (an int of 1 or more) or a share of it (a float between 0 and 1), got {target!r}"
            )
        if not (0 <= start < end <= settle <= 1):
            raise ValueError(f"need 0 <= start < end <= settle <= 1, got start={start}, end={end}, settle={settle}")
        if scope not in get_args(Scope):
            raise ValueError(f"scope must be 'whole' or 'layer', got {scope!r}")
        if scope == "layer" and cost is not open_gates:
            raise ValueError("scope='layer' counts the open gates of each layer; give another cost with scope='whole'")
        check_not_negative(integral=integral, proportional=proportional)
        check_positive(most=most)
        self.target, self.cost, self.scope = target, cost, scope
        self.start, self.end, self.settle = start, end, settle
        self.integral, self.proportional, self.most = integral, proportional, most
        self.two_sided = two_sided
        self.multipliers: dict[str, float] = {}
        self.weights: dict[str, float] = {}
        self.expected: dict[str, float] = {}

    def budget(self, layers: Iterable[GateLayer]) -> float:
        """What the deployed gates may cost."""
        return float(self.target) if isinstance(self.target, int) else self.target * self._all(layers)

    def current(self, progress: float, layers: Iterable[GateLayer]) -> float:
        """The target after a share `progress` of the run, in [0, 1]."""
        layers = list(layers)
        share = min(1.0, max(0.0, (progress - self.start) / (self.end - self.start)))
        dense = self._all(layers)
        return float(dense * (min(self.budget(layers), dense) / dense) ** share)

    def groups(self, module: nn.Module) -> dict[str, list[GateLayer]]:
        """The layers that share a budget, by name.

        Raises:
            ValueError: if the module has no gates.
        """
        found = gate_layers(module)
        _some(found, module)
        return {"": list(found.values())} if self.scope == "whole" else {name: [each] for name, each in found.items()}

    def check(self, module: nn.Module) -> None:
        """Looks at the budget before anything is trained.

        Raises:
            BudgetError: if no decision meets it.
            ValueError: if the module has no gates.
        """
        for name, layers in self.groups(module).items():
            budget, dense = self.budget(layers), self._all(layers)
            least = price_of(least_gates(layers, budget, self.cost), self.cost)
            where = f" of {name}" if name else ""
            if budget > dense * (1 + 1e-6):
                raise BudgetError(
                    f"the budget{where} is {budget:g}, and all gates together cost {dense:g}: lower target"
                )
            if budget < least:
                raise BudgetError(
                    f"the budget{where} is {budget:g}, and with one gate left in each layer the cost is {least:g} "
                    f"(of {dense:g}): raise target"
                )

    def add_gradient(self, module: nn.Module, progress: float) -> None:
        """Adds the gradient of the budget to that of the gates' parameters, and moves the multipliers: once a step.

        On several ranks all do the same, since the cost depends on parameters alone: call it when gradients are averaged.

        Args:
            module: with gates.
            progress: the share of the run that is over, in [0, 1].
        """
        for name, layers in self.groups(module).items():
            target = self.current(progress, layers)
            self._set_k(layers, target)
            for each in layers:
                each.bound_()
            free = [each for each in layers if not each.held and not isinstance(each, SelectK)]
            if not free or (progress < self.start and not self.two_sided):
                continue
            self._add(name, layers, free, target)

    @torch.no_grad()
    def decide(self, module: nn.Module, progress: float = 1.0) -> None:
        """Decides which gates are open in eval(), so that their cost meets the target after `progress`.

        Where gates are counted, those of the largest scores; by another cost of each layer those of the largest scores, in the
        proportions of the expected numbers of open gates.

        From `end` on gates are exchanged for others of smaller scores where this uses up the budget, of FLOPs for example.
        From `settle` on the decision is held.

        Raises:
            BudgetError: if none meets it.
        """
        for layers in self.groups(module).values():
            if all(each.held for each in layers):
                continue
            target = self.current(progress, layers)
            self._set_k(layers, target)
            decision = Decision(layers, self.cost, target, is_even=self.cost is open_gates)
            for layer, open in decision.parts(decision.best(exchange=progress >= self.end)).items():
                if not layer.held:
                    layer.decide(open, hold=progress >= self.settle)

    def state_dict(self) -> dict[str, float]:
        """The multipliers."""
        return dict(self.multipliers)

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Sets the multipliers."""
        self.multipliers = dict(state)

    def _all(self, layers: Iterable[GateLayer]) -> float:
        return float(self.cost({each: torch.ones(each.size, device=each.decision.device) for each in layers}))

    def _set_k(self, layers: list[GateLayer], target: float) -> None:
        subsets = [each for each in layers if isinstance(each, SelectK)]
        for each in subsets:
            share = target / self._all(layers)
            alone = len(layers) == 1 and self.cost is open_gates
            k = int(target * (1 + 1e-6)) if alone else round(share * each.size)  # alone: as many as `decide` opens
            each.set_k(min(each.size, max(1, k)))

    def _add(self, name: str, layers: list[GateLayer], free: list[GateLayer], target: float) -> None:
        cost = self.cost({each: _chance(each) for each in layers})
        self.expected[name] = float(cost.detach())
        error = self.expected[name] / target - 1
        multiplier = self.multipliers.get(name, 0.0)
        least = -self.most if self.two_sided else 0.0
        weight = self.weights[name] = min(self.most, max(least, multiplier + self.proportional * error))
        self.multipliers[name] = min(self.most, max(least, multiplier + self.integral * error))
        parameters = [each for layer in free for each in layer.parameters(recurse=False) if each.requires_grad]
        if not weight or not parameters:
            return
        gradients = torch.autograd.grad(cost * (weight / target), parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def _chance(layer: GateLayer) -> Tensor:
    """P(open) in training: 0 or 1 once a decision is held."""
    return layer.open().float() if layer.held else layer.open_probability()


def _some(found: Iterable[_T], module: nn.Module) -> list[_T]:
    listed = list(found)
    if not listed:
        raise ValueError(
            f"{type(module).__name__} has no gates: put a Gate, HardConcrete, StochasticGate or SelectK in it"
        )
    return listed
