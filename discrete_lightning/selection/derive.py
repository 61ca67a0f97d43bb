"""From a network with gates to the plain smaller one: closed channels, hidden units, heads and blocks are removed.

An open gate is 1 in eval() and a closed one 0, so that what is left computes what the gated network did. Removing entry c of a
layer removes its weights and bias, those of its norms, and its input weights in every consumer.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrize import is_parametrized

from discrete_lightning.selection.budget import gate_layers
from discrete_lightning.selection.gates.gate_layer import GateLayer
from discrete_lightning.selection.ties import Piece, Side, TieError, input_axis, size_of, tied_to

Known = dict[int, tuple[nn.Parameter, dict[int, list[int]]]]


class KeptEntries(nn.Module):
    """Keeps some entries of a dimension: in the place of gates on the inputs of a network, which nothing produces.

    Args:
        entries: int64 (K,).
        dim: of the input.
    """

    entries: Tensor

    def __init__(self, entries: Tensor, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("entries", entries)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D, ...) to (..., K, ...)."""
        return x.index_select(self.dim, self.entries)


def derive(model: nn.Module, example: Any = None) -> nn.Module:
    """A deep copy without gates, in which what closed gates switch off is removed.

    In eval() it gives what the gated model gives in eval(). Gates become nn.Identity, and so does a block whose gate is closed;
    gates on inputs become `KeptEntries`. Names of modules stay. Optimisers have to be made anew.

    Args:
        model: with gates; each is tied to layers (`GateLayer.between`, `tie`).
        example: an input, or a tuple of them; the two networks are then compared on it.

    Raises:
        TieError: if gates have no tie, or it does not fit; if a group has no gate left; if a norm behind the gates would turn 0
            into something else; with an example, if the derived network does not run, or gives something else.

    Example:
        >>> from discrete_lightning.selection.gates import Gate
        >>> first, gate, second = nn.Linear(3, 8), Gate(8), nn.Linear(8, 2)
        >>> network = nn.Sequential(first, gate.between(first, [], second), nn.ReLU(), second)
        >>> gate.decide(torch.arange(8) < 5)
        >>> derive(network, torch.randn(4, 3))
        Sequential(
          (0): Linear(in_features=3, out_features=5, bias=True)
          (1): Identity()
          (2): ReLU()
          (3): Linear(in_features=5, out_features=2, bias=True)
        )
    """
    derived = derived_by(model, {each: each.open() for each in gate_layers(model).values()})
    if example is not None:
        _compare(model, derived, example)
    return derived


@torch.no_grad()
def derived_by(model: nn.Module, open: Mapping[GateLayer, Tensor]) -> nn.Module:
    """`derive` with given decisions, bool (D,) for each layer of gates."""
    twin = copy.deepcopy(model)
    originals, copies = gate_layers(model), gate_layers(twin)
    opened = {copies[name]: open[each].cpu() for name, each in originals.items()}
    names = {each: name for name, each in twin.named_modules()}
    tied_to(copies.values(), names)  # all errors before anything is removed
    for gate, chosen in opened.items():
        if gate.tie is not None and gate.tie.block is not None and not chosen.any():
            twin = _replace(twin, gate.tie.block, nn.Identity())
    left = {gate: name for name, gate in gate_layers(twin).items()}
    for gate, name in left.items():
        _check_left(gate, name, opened[gate])
        _check_order(twin, gate, name)
    tied = tied_to(left, names)
    known: Known = {}
    for module, sides in tied.items():
        _shrink(module, {side: _kept(module, side, pieces, opened) for side, pieces in sides.items()}, names, known)
    for gate in left:
        assert gate.tie is not None
        for module, name in gate.tie.counts:
            setattr(module, name, int(opened[gate].sum()))
        is_input = gate.tie.block is None and not gate.tie.producers and not opened[gate].all()
        entries = opened[gate].repeat_interleave(gate.width).nonzero()[:, 0].to(gate.decision.device)
        twin = _replace(twin, gate, KeptEntries(entries, gate.dim) if is_input else nn.Identity())
    return twin


def _check_left(gate: GateLayer, name: str, chosen: Tensor) -> None:
    if not chosen.any() and (gate.tie is None or gate.tie.block is None):
        raise TieError(
            f"{name!r} ({type(gate).__name__}) has no open gate, and nothing passes a layer of no entries: lead it by a "
            "budget, which leaves one, or decide another one"
        )


def _check_order(model: nn.Module, gate: GateLayer, name: str) -> None:
    """In an nn.Sequential the order can be seen: no norm behind the gates."""
    assert gate.tie is not None
    norms = {getattr(each, "module", each) for each in gate.tie.norms}
    for parent in model.modules():
        if isinstance(parent, nn.Sequential) and gate in (children := list(parent)):
            behind = [
                each for each in children[children.index(gate) :] if each in norms and not isinstance(each, nn.PReLU)
            ]
            if behind:
                raise TieError(
                    f"{name!r} comes before its {type(behind[0]).__name__}, which makes a constant of a closed entry: put the "
                    "gate after it"
                )


def _kept(module: nn.Module, side: Side, pieces: list[Piece], opened: Mapping[GateLayer, Tensor]) -> Tensor:
    """Which entries stay, int64."""
    kept = torch.ones(size_of(module, side), dtype=torch.bool)
    for piece in pieces:
        kept[piece.entries[:, ~opened[piece.gate]].flatten()] = False
    return kept.nonzero()[:, 0]


def _shrink(module: nn.Module, kept: dict[Side, Tensor], names: dict[nn.Module, str], known: Known) -> None:
    """Removes entries of a layer in place."""
    if is_parametrized(module):
        raise TieError(f"{names[module]!r} has parametrised weights: call remove_parametrizations first")

    def cut(name: str, dims: dict[int, Tensor]) -> None:
        tensor = getattr(module, name)
        if tensor is None:
            return
        cuts = {dim: entries.tolist() for dim, entries in dims.items()}
        if id(tensor) in known:  # shared with another layer
            shared, before = known[id(tensor)]
            if cuts != before:
                raise TieError(
                    f"{names[module]!r} shares its {name} with a layer that loses other entries: tie both alike"
                )
            setattr(module, name, shared)
            return
        smaller = tensor.detach()
        for dim, entries in dims.items():
            smaller = smaller.index_select(dim, entries.to(tensor.device))
        if isinstance(tensor, nn.Parameter):
            smaller = nn.Parameter(smaller.clone(), tensor.requires_grad)
            known[id(tensor)] = smaller, cuts
        setattr(module, name, smaller)

    if "each" in kept:
        entries = kept["each"]
        if isinstance(module, _ConvNd):
            times = module.out_channels // module.in_channels
            rows = (entries[:, None] * times + torch.arange(times)).flatten()
            cut("weight", {0: rows})
            cut("bias", {0: rows})
            module.in_channels = module.groups = len(entries)
            module.out_channels = len(rows)
            return
        for name in ("weight", "bias", "running_mean", "running_var"):
            if hasattr(module, name):
                cut(name, {0: entries})
        setattr(module, "num_features" if isinstance(module, _NormBase) else "num_parameters", len(entries))
        return
    if isinstance(module, nn.Embedding):
        cut("weight", {1: kept["out"]})
        module.embedding_dim = len(kept["out"])
        return
    axis = input_axis(module)
    cut("weight", {axis if side == "in" else 1 - axis: entries for side, entries in kept.items()})
    size = "features" if isinstance(module, nn.Linear) else "channels"
    if "in" in kept:
        setattr(module, f"in_{size}", len(kept["in"]))
    if "out" in kept:
        cut("bias", {0: kept["out"]})
        setattr(module, f"out_{size}", len(kept["out"]))


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> nn.Module:
    """The model with `new` wherever `old` was."""
    if model is old:
        return new
    for parent in model.modules():
        for name, child in parent._modules.items():
            if child is old:
                parent._modules[name] = new
    return model


def placed(example: Any, model: nn.Module) -> tuple[Any, ...]:
    """The inputs of an example on the model's device; those that are floating have the dtype of its first parameter."""
    inside = {id(each) for layer in gate_layers(model).values() for each in layer.parameters()}
    first = next((each for each in model.parameters() if id(each) not in inside), None)
    inputs = example if isinstance(example, tuple) else (example,)
    if first is None:
        return inputs
    return tuple(
        each.to(first.device, first.dtype if each.is_floating_point() else each.dtype)
        if isinstance(each, Tensor)
        else each
        for each in inputs
    )


@torch.no_grad()
def _compare(model: nn.Module, derived: nn.Module, example: Any) -> None:
    modes = {each: each.training for whole in (model, derived) for each in whole.modules()}
    inputs = placed(example, derived)
    try:
        expected = model.eval()(*inputs)
        found = derived.eval()(*inputs)
    except (RuntimeError, ValueError) as error:
        raise TieError(
            f"the derived network does not run ({' '.join(str(error).split())}): a layer between is not among the ties"
        ) from error
    finally:
        for each, mode in modes.items():
            each.training = mode
    leaves = zip(*(torch.utils._pytree.tree_leaves(each) for each in (expected, found)), strict=True)
    for a, b in leaves:
        if isinstance(a, Tensor) and a.is_floating_point():
            limit = 100 * a.numel() ** 0.5 * torch.finfo(a.dtype).eps
            gap = float((a.double() - b.double()).abs().max() / a.double().abs().max().clamp_min(1e-30))
            if gap > limit:
                raise TieError(
                    f"the derived network gives something else than the gated one (by {gap:.1e} of the largest output): what "
                    "lies between gates and consumers has to keep 0 at 0: put gates behind norms and biases, before ReLU"
                )
