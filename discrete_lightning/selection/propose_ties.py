"""Ties that can be read off a network's graph (torch.fx), for gates whose place says what they switch.

Values that have the same entries form a group: what goes through norms, activations, pooling, sums, flattening and gates stays
in it; the outputs of Linear, Conv and Embedding begin one, their inputs end it. The layers around the gates' group are the tie.
"""

import operator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules.conv import _ConvNd

from discrete_lightning.selection.budget import gate_layers
from discrete_lightning.selection.gates.gate_layer import GateLayer
from discrete_lightning.selection.ties import Tie, TieError, size_of, tie

_KEEP_MODULES = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Hardswish, nn.Identity, nn.Dropout, nn.Dropout1d,
    nn.Dropout2d, nn.Dropout3d, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool2d, nn.Upsample, nn.Flatten, GateLayer,
)  # fmt: skip
_F = nn.functional
_KEEP_FUNCTIONS = {
    operator.add, operator.iadd, torch.add, torch.relu, torch.tanh, torch.flatten, _F.relu, _F.relu6, _F.leaky_relu, _F.elu,
    _F.gelu, _F.silu, _F.hardswish, _F.dropout, _F.dropout2d, _F.max_pool1d, _F.max_pool2d, _F.avg_pool1d, _F.avg_pool2d,
    _F.adaptive_avg_pool1d, _F.adaptive_avg_pool2d, _F.interpolate,
}  # fmt: skip
_KEEP_METHODS = {"relu", "relu_", "tanh", "add", "add_", "flatten", "contiguous", "clone"}


@dataclass
class _Group:
    """Values of the same entries."""

    nodes: set[fx.Node] = field(default_factory=set)
    producers: list[nn.Module] = field(default_factory=list)
    norms: list[nn.Module] = field(default_factory=list)
    consumers: list[nn.Module] = field(default_factory=list)
    gates: list[GateLayer] = field(default_factory=list)
    barriers: list[str] = field(default_factory=list)

    def take(self, other: "_Group") -> None:
        """Takes all of another group."""
        self.nodes |= other.nodes
        for name in ("producers", "norms", "consumers", "gates", "barriers"):
            mine = getattr(self, name)
            mine += [each for each in getattr(other, name) if each not in mine]


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, GateLayer) or super().is_leaf_module(m, module_qualified_name)


def propose_ties(model: nn.Module) -> dict[str, Tie]:
    """Ties for the gates of a model that have none, as far as its graph shows them; look at them before they are set.

    Set them by `set_ties`. Attention, concatenation and blocks are not read: name those by `tie`.

    Args:
        model: with gates, that torch.fx can trace.

    Returns:
        a tie for each layer of gates without one, by name.

    Raises:
        TieError: if the model cannot be traced, or what gates switch reaches something whose entries are not followed.

    Example:
        >>> from discrete_lightning.selection.gates import Gate
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), Gate(8), nn.ReLU(), nn.Linear(8, 2))
        >>> found = propose_ties(model)["2"]
        >>> found.producers, found.norms, found.consumers == (model[4],)
        ((Linear(in_features=3, out_features=8, bias=True),), (BatchNorm1d(8, eps=1e-05, ...),), True)
    """
    try:
        graph = _Tracer().trace(model)
    except Exception as error:  # what a model's own code may do cannot be known
        reason = " ".join(str(error).split())[:160]
        raise TieError(
            f"torch.fx cannot trace {type(model).__name__} ({reason}): name the layers by tie(gate, ...)"
        ) from None
    modules = dict(model.named_modules())
    groups: dict[fx.Node, _Group] = {}
    for node in graph.nodes:
        _follow(node, modules, groups)
    found: dict[str, Tie] = {}
    for name, gate in gate_layers(model).items():
        if gate.tie is None:
            found[name] = _tie_of(gate, name, groups)
    return found


def set_ties(model: nn.Module, ties: dict[str, Tie]) -> None:
    """Ties the gates of a model, by name.

    Args:
        model: with gates.
        ties: as of `propose_ties`.

    Raises:
        TieError: if a layer does not fit.
    """
    layers = gate_layers(model)
    for name, each in ties.items():
        tie(layers[name], each.producers, each.norms, each.consumers)


def _follow(node: fx.Node, modules: dict[str, nn.Module], groups: dict[fx.Node, _Group]) -> None:
    """Adds a node to the group of its inputs, or begins one."""
    inputs = [groups[each] for each in node.all_input_nodes]
    module = modules.get(str(node.target)) if node.op == "call_module" else None
    group = _Group({node})
    if module is not None and _is_weighted(module):
        group.producers.append(module)
        for each in inputs:
            if isinstance(module, nn.Embedding):
                each.barriers.append(node.name)
            else:
                each.consumers += [] if module in each.consumers else [module]
    elif module is not None and isinstance(module, _ConvNd | nn.modules.batchnorm._NormBase | nn.PReLU):
        group.norms.append(module)
        if not isinstance(module, nn.PReLU) and any(each.gates for each in inputs):  # it makes a constant of 0
            group.barriers.append(f"{node.name} (a {type(module).__name__} behind the gates)")
        _join(group, inputs, groups)
    elif _keeps(node, module):
        if isinstance(module, GateLayer):
            group.gates.append(module)
        _join(group, inputs, groups)
    else:  # inputs of the model, its output, and whatever else
        group.barriers.append(node.name)
        for each in inputs:
            each.barriers.append(node.name)
    for member in group.nodes:
        groups[member] = group


def _join(group: _Group, inputs: list[_Group], groups: dict[fx.Node, _Group]) -> None:
    for each in {id(one): one for one in inputs}.values():
        group.take(each)
    for node in group.nodes:
        groups[node] = group


def _is_weighted(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | nn.Embedding) or (isinstance(module, _ConvNd) and module.groups == 1)


def _keeps(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether the entries of the result are those of the inputs, in the same order, 0 where those are 0."""
    if module is not None:
        return isinstance(module, _KEEP_MODULES)
    if node.op == "call_function":
        return node.target in _KEEP_FUNCTIONS
    if node.op == "call_method" and node.target == "mean":  # over places
        dims: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        return dims in ((2, 3), [2, 3], (-2, -1), [-2, -1], (-1, -2), [-1, -2])
    return node.op == "call_method" and node.target in _KEEP_METHODS


def _tie_of(gate: GateLayer, name: str, groups: dict[fx.Node, _Group]) -> Tie:
    group = next((each for each in groups.values() if gate in each.gates), None)
    if group is None:
        raise TieError(
            f"{name!r} is not called in the forward pass: leave it out, or name its layers by tie(gate, ...)"
        )
    if group.barriers or not group.producers or not group.consumers:
        reached = f"{', '.join(sorted(set(group.barriers)))}" if group.barriers else "no layer on one side"
        raise TieError(f"{name!r} reaches {reached}, where entries are not followed: name its layers by tie(gate, ...)")
    for each in group.producers:
        size_of(each, "out")
    return Tie(tuple(group.producers), tuple(group.norms), tuple(group.consumers))
