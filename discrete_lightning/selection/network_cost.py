"""What a network with gates costs: FLOPs or parameters, as a function of the probabilities that gates are open.

A layer with c_in inputs and c_out outputs left costs a * c_in * c_out, and both are sums of gates, so that

    E[c_in c_out] = E[c_in] E[c_out] + sum over gates on both sides of w_in w_out P (1 - P)

for independent gates, times the probability that the blocks around the layer are there. For a decision, P in {0, 1}, it is the
cost of the derived network, to the last operation.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from discrete_lightning.selection.budget import gate_layers
from discrete_lightning.selection.derive import derived_by, placed
from discrete_lightning.selection.gates.gate_layer import GateLayer
from discrete_lightning.selection.ties import Side, size_of, tied_to

Unit = Literal["flops", "parameters"]


@dataclass
class _Form:
    """fixed + sum over layers of gates of weight * (number of open gates)."""

    fixed: float
    weights: dict[GateLayer, float] = field(default_factory=dict)


@dataclass
class _Term:
    """unit * left * right, where the blocks are there."""

    unit: float
    left: _Form
    right: _Form
    blocks: list[GateLayer]


class NetworkCost:
    """The expected FLOPs or parameters of a network as a function of its gates: a cost for BudgetController.

    FLOPs are those of one pass of `example` as torch counts them, two for each multiplication and addition of convolutions and
    products. What functions do between layers, such as attention, is measured with fewer gates and taken as linear in their
    number. Gates themselves do not count. Exact for independent gates; for a decision equal to the cost of `derive(model)`.

    Args:
        model: with gates, each tied to layers.
        example: an input, or a tuple of them; not needed for parameters.
        unit: "flops" or "parameters".

    Attributes:
        dense: the cost with all gates open.

    Raises:
        TieError: if gates have no tie, or it does not fit.
        ValueError: if the model has no gates, or FLOPs are to be counted without an example.

    Example:
        >>> from discrete_lightning.selection.gates import Gate
        >>> first, gate, second = nn.Linear(3, 8), Gate(8), nn.Linear(8, 2)
        >>> network = nn.Sequential(first, gate.between(first, [], second), nn.ReLU(), second)
        >>> cost = NetworkCost(network, torch.zeros(1, 3))
        >>> cost({gate: torch.ones(8)}), cost({gate: torch.full((8,), 0.5)})
        (tensor(80., dtype=torch.float64), tensor(40., dtype=torch.float64))
    """

    def __init__(self, model: nn.Module, example: Any = None, unit: Unit = "flops") -> None:
        if unit not in get_args(Unit):
            raise ValueError(f"unit must be 'flops' or 'parameters', got {unit!r}")
        if unit == "flops" and example is None:
            raise ValueError("FLOPs are those of a pass: give an example, an input of the network")
        layers = gate_layers(model)
        if not layers:
            raise ValueError(f"{type(model).__name__} has no gates: put a Gate, HardConcrete or StochasticGate in it")
        self.unit, self.gates = unit, list(layers.values())
        self._names = {each: name for name, each in model.named_modules()}
        self._tied = tied_to(self.gates, self._names)
        self._blocks: dict[nn.Module, list[GateLayer]] = {each: [] for each in self._names}
        for gate in self.gates:
            if gate.tie is not None and gate.tie.block is not None:
                for each in gate.tie.block.modules():
                    self._blocks[each].append(gate)
        terms = self._parameters() if unit == "parameters" else self._flops(model, example)
        self._place(list(terms))
        self.dense = float(self({each: torch.ones(each.size) for each in self.gates}))

    def __call__(self, probabilities: Mapping[GateLayer, Tensor]) -> Tensor:
        """The expected cost, 0-dim float64 (float32 where the device has no float64), with the gradient of the probabilities.

        Args:
            probabilities: P(open) of each layer of gates, (D,); 0 and 1 for a decision.

        Raises:
            ValueError: if gates of the network are missing.
        """
        missing = [self._names[each] for each in self.gates if each not in probabilities]
        if missing:
            raise ValueError(f"the cost needs P(open) of all gates, and has none of {', '.join(missing)}")
        device = probabilities[self.gates[0]].device
        dtype = torch.float32 if device.type == "mps" else torch.float64
        chances = [probabilities[each].to(device, dtype) for each in self.gates]
        numbers = torch.stack([each.sum() for each in chances])
        spread = torch.stack([(each * (1 - each)).sum() for each in chances])
        if device not in self._placed:
            self._placed[device] = [each.to(device, dtype) for each in self._tables]
        left, right, both, units, member = self._placed[device]
        one = torch.ones_like(numbers[:1])
        known = torch.cat([one, numbers])
        products = (left @ known) * (right @ known) + both @ spread
        # a block is one gate: its number is its probability
        there = torch.where(member > 0, numbers, torch.ones_like(numbers)).prod(1)
        return (units * products * there).sum()

    def _place(self, terms: list[_Term]) -> None:
        count = len(self.gates)
        place = {each: i for i, each in enumerate(self.gates)}
        left, right = torch.zeros(len(terms), count + 1), torch.zeros(len(terms), count + 1)
        member = torch.zeros(len(terms), count)
        for row, term in enumerate(terms):
            for table, form in ((left, term.left), (right, term.right)):
                table[row, 0] = form.fixed
                for gate, weight in form.weights.items():
                    table[row, 1 + place[gate]] = weight
            for gate in term.blocks:
                member[row, place[gate]] = 1
        both = left[:, 1:] * right[:, 1:]
        units = torch.tensor([each.unit for each in terms], dtype=torch.float64)
        self._placed: dict[torch.device, list[Tensor]] = {}
        self._tables = [each.double() for each in (left, right, both, units, member)]

    def _form(self, module: nn.Module, side: Side) -> _Form:
        """The number of entries of a side that are left."""
        total = size_of(module, side)
        form = _Form(float(total))
        for piece in self._tied.get(module, {}).get(side, []):
            weight = float(piece.parts * piece.width)
            form.fixed -= weight * piece.gate.size
            form.weights[piece.gate] = form.weights.get(piece.gate, 0.0) + weight
        return form

    def _weights(self, module: nn.Module, cost: float, blocks: list[GateLayer]) -> _Term:
        """The term of a cost that is proportional to the entries of all tied sides."""
        sides = self._tied.get(module, {})
        if "each" in sides or isinstance(module, nn.Embedding):
            form = self._form(module, "each" if "each" in sides else "out")
            total = size_of(module, "each" if "each" in sides else "out")
            return _Term(cost / total, form, _Form(1.0), blocks)
        if not sides:
            return _Term(cost, _Form(1.0), _Form(1.0), blocks)
        total = size_of(module, "in") * size_of(module, "out")
        return _Term(cost / total, self._form(module, "in"), self._form(module, "out"), blocks)

    def _parameters(self) -> Iterator[_Term]:
        seen: set[int] = set()
        inside = {each for gate in self.gates for each in gate.modules()}
        for module in self._names:
            if module in inside:
                continue
            for name, each in module.named_parameters(recurse=False):
                if id(each) in seen:
                    continue
                seen.add(id(each))
                sides = self._tied.get(module, {})
                blocks = self._blocks[module]
                if name == "bias" and "each" not in sides and sides:
                    yield _Term(each.numel() / size_of(module, "out"), self._form(module, "out"), _Form(1.0), blocks)
                else:
                    yield self._weights(module, each.numel(), blocks)

    def _flops(self, model: nn.Module, example: Any) -> Iterator[_Term]:
        every = {each: torch.ones(each.size, dtype=torch.bool) for each in self.gates}
        flops = _own_flops(model, example)
        modules = {name: each for each, name in self._names.items()}
        between = [name for name, cost in flops.items() if modules[name] not in self._tied and cost]
        between = [name for name in between if not list(modules[name].parameters(recurse=False))]
        fewer: dict[GateLayer, dict[str, float]] = {}
        for gate in self.gates if between else []:
            if gate.size > 1 and gate.tie is not None and gate.tie.producers:
                first = torch.arange(gate.size) < 1
                fewer[gate] = _own_flops(derived_by(model, every | {gate: first}), example)
        for name, cost in flops.items():
            module, form = modules[name], _Form(cost)
            for gate, found in fewer.items() if name in between else []:
                slope = (cost - found.get(name, 0.0)) / (gate.size - 1)
                if slope:
                    form.weights[gate] = slope
                    form.fixed -= slope * gate.size
            if form.weights:
                yield _Term(1.0, form, _Form(1.0), self._blocks[module])
            else:
                yield self._weights(module, cost, self._blocks[module])


def count_flops(model: nn.Module, example: Any) -> float:
    """FLOPs of one pass in eval(): two for each multiplication and addition of convolutions and products.

    Args:
        model: any module.
        example: an input, or a tuple of them.
    """
    return sum(_own_flops(model, example).values())


def count_parameters(model: nn.Module) -> int:
    """The number of parameters, those of gates left out."""
    inside = {id(each) for layer in gate_layers(model).values() for each in layer.parameters()}
    return sum(each.numel() for each in model.parameters() if id(each) not in inside)


@torch.no_grad()
def _own_flops(model: nn.Module, example: Any) -> dict[str, float]:
    """FLOPs of each module by name, those of its children left out."""
    modes = {each: each.training for each in model.modules()}
    inputs = placed(example, model)
    try:
        model.eval()
        with FlopCounterMode(display=False) as counter, _counted(model, counter) as found:
            model(*inputs)
    finally:
        for each, mode in modes.items():
            each.training = mode
    return found


@contextmanager
def _counted(model: nn.Module, counter: FlopCounterMode) -> Iterator[dict[str, float]]:
    found: dict[str, float] = {}
    stack: list[list[float]] = []  # the count at the start of each open call, and that of its children

    def before(*_: Any) -> None:
        stack.append([counter.get_total_flops(), 0.0])

    def after_of(name: str) -> Any:
        def after(*_: Any) -> None:
            start, children = stack.pop()
            whole = counter.get_total_flops() - start
            found[name] = found.get(name, 0.0) + whole - children
            if stack:
                stack[-1][1] += whole

        return after

    hooks = []
    for name, module in model.named_modules():
        hooks += [module.register_forward_pre_hook(before), module.register_forward_hook(after_of(name))]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
