"""Ties: which layers make the entries that gates switch, and which use them. The user names them; `derive` removes them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

if TYPE_CHECKING:
    from discrete_lightning.selection.gates.gate_layer import GateLayer

Side = Literal["out", "each", "in"]
_Layer = TypeVar("_Layer", bound="GateLayer")


class TieError(ValueError):
    """Gates are not tied, or their tie does not fit the layers."""


@dataclass(frozen=True)
class Part:
    """Some of the entries of a layer: those of gate 0 first, `width` for each gate.

    Args:
        module: the layer.
        start: the first entry, where others come before: a concatenation.
        width: entries for each gate; None takes those of the gate (`GateLayer.width`).
    """

    module: nn.Module
    start: int = 0
    width: int | None = None


Tied = nn.Module | Part


@dataclass(frozen=True)
class Tie:
    """What gates are tied to. See `tie`."""

    producers: tuple[Tied, ...] = ()
    norms: tuple[Tied, ...] = ()
    consumers: tuple[Tied, ...] = ()
    block: nn.Module | None = None
    counts: tuple[tuple[nn.Module, str], ...] = ()


@dataclass(frozen=True)
class Piece:
    """Entries start + (part * size + i) * width + j of one side of a layer belong to gate i."""

    gate: "GateLayer"
    start: int
    width: int
    parts: int = 1

    @property
    def entries(self) -> Tensor:
        """The entries of gate i: int64 (parts, size, width)."""
        count = self.parts * self.gate.size * self.width
        return self.start + torch.arange(count).view(self.parts, self.gate.size, self.width)


def tie(
    gate: _Layer,
    producers: Sequence[Tied] = (),
    norms: Sequence[Tied] = (),
    consumers: Sequence[Tied] = (),
    block: nn.Module | None = None,
    counts: Sequence[tuple[nn.Module, str]] = (),
) -> _Layer:
    """Says which layers lose entries where gates are closed, and returns the gates. A second call adds to the first.

    The order in the network is producer, norms, gates, consumer; what lies between the gates and a consumer has to keep 0 at 0
    (ReLU, GELU, pooling, dropout). A norm behind the gates makes a constant of 0.

    Args:
        gate: the gates.
        producers: layers whose outputs are gated: Linear, Conv, ConvTranspose, Embedding. Several where outputs are added
            (a residual stage). Of a Linear with several times as many outputs, each part is gated alike: q, k and v. None:
            inputs of the network are gated.
        norms: layers with parameters for each entry: BatchNorm, InstanceNorm, PReLU, depthwise Conv.
        consumers: layers whose inputs are gated: Linear, Conv, ConvTranspose. Those of a Linear after a Flatten are taken as H
            * W for each channel. `Part(layer, start)` for one that takes a concatenation.
        block: for one gate alone: a module that is the identity when the gate is closed, x + gate(branch(x)). It goes as a
            whole, so that the gate may close in every budget.
        counts: (module, name) of attributes that hold the number of gates, such as of heads; it becomes that of the open ones.

    Raises:
        TieError: if nothing uses the gates, a layer is of another kind, or its size does not fit them.

    Example:
        >>> from discrete_lightning.selection.gates import Gate
        >>> first, second = nn.Linear(3, 8), nn.Linear(8, 2)
        >>> network = nn.Sequential(first, tie(Gate(8), [first], consumers=[second]), nn.ReLU(), second)
    """
    if block is not None:
        if gate.size != 1 or producers or norms or consumers:
            raise TieError(
                f"a block is switched by one gate that has no other tie, got a {type(gate).__name__} of size {gate.size}"
            )
        gate.least = 0
    elif not consumers:
        raise TieError(f"a {type(gate).__name__} is tied to no consumer: name the layers that take its output")
    before = gate.tie or Tie()
    if (block is not None) != (before.block is not None) and gate.tie is not None:
        raise TieError("gates are tied to a block, or to producers and consumers, not to both")
    found = Tie(
        before.producers + tuple(producers),
        before.norms + tuple(norms),
        before.consumers + tuple(consumers),
        block,
        before.counts + tuple(counts),
    )
    for _, _, _ in pieces_of(gate, found):
        pass  # looks at the sizes
    gate.tie = found
    return gate


def pieces_of(gate: "GateLayer", found: Tie) -> Iterable[tuple[nn.Module, Side, Piece]]:
    """Which entries of which layers belong to the gates.

    Raises:
        TieError: if a layer is of another kind, or its size does not fit.
    """
    sides: tuple[tuple[Side, tuple[Tied, ...]], ...] = (
        ("out", found.producers),
        ("each", found.norms),
        ("in", found.consumers),
    )
    for side, tied in sides:
        for each in tied:
            part = each if isinstance(each, Part) else Part(each)
            if not (isinstance(part.module, nn.PReLU) and part.module.num_parameters == 1):
                yield part.module, side, _piece(gate, part, side, isinstance(each, Part))


def size_of(module: nn.Module, side: Side) -> int:
    """Entries of a side of a layer.

    Raises:
        TieError: if such a layer cannot lose entries of this side.
    """
    depthwise = isinstance(module, _ConvNd) and module.groups == module.in_channels > 1
    if side == "each":
        if isinstance(module, _NormBase):
            return module.num_features
        if isinstance(module, nn.PReLU):
            return module.num_parameters
        if depthwise:
            return module.in_channels  # type: ignore[return-value]
        raise TieError(_refused(module, side))
    if isinstance(module, nn.Linear):
        return module.out_features if side == "out" else module.in_features
    if isinstance(module, _ConvNd) and module.groups == 1:
        return module.out_channels if side == "out" else module.in_channels
    if isinstance(module, nn.Embedding) and side == "out":
        return module.embedding_dim
    raise TieError(_refused(module, side))


def input_axis(module: nn.Module) -> int:
    """The dimension of a Linear's or Conv's weight that its inputs have; the outputs have 1 minus it."""
    return 0 if isinstance(module, _ConvTransposeNd) else 1


def tied_to(gates: Iterable["GateLayer"], names: dict[nn.Module, str]) -> dict[nn.Module, dict[Side, list[Piece]]]:
    """The pieces of each layer that is tied to any of the gates.

    Args:
        gates: all of a network.
        names: of its modules.

    Raises:
        TieError: if gates have no tie, are tied to a layer that is not in the network, or two switch the same entry.
    """
    found: dict[nn.Module, dict[Side, list[Piece]]] = {}
    for gate in gates:
        if gate.tie is None:
            raise TieError(
                f"{names[gate]!r} ({type(gate).__name__}) is tied to no layers: name them by "
                "gate.between(producer, [norm], consumer), or by tie(gate, ...)"
            )
        if gate.tie.block is not None and gate.tie.block not in names:
            raise TieError(_stranger(names[gate], gate.tie.block))
        for module, side, piece in pieces_of(gate, gate.tie):
            if module not in names:
                raise TieError(_stranger(names[gate], module))
            others = found.setdefault(module, {}).setdefault(side, [])
            taken = torch.cat([each.entries.flatten() for each in (*others, piece)])
            if len(taken.unique()) < len(taken):
                raise TieError(
                    f"{names[gate]!r} and {', '.join(repr(names[each.gate]) for each in others)} switch the same entries of "
                    f"{names[module]!r}: give each Part(layer, start) of its own, or one gate to both"
                )
            others.append(piece)
    return found


def _piece(gate: "GateLayer", part: Part, side: Side, is_placed: bool) -> Piece:
    total = size_of(part.module, side)
    width = gate.width if part.width is None else part.width
    parts = 1
    if side == "out" and not is_placed:
        parts = max(1, total // (gate.size * width))
    elif not is_placed:
        width = max(1, total // gate.size)  # a Flatten makes H * W inputs of a channel
    is_uneven = part.width is None and width % gate.width
    end = part.start + parts * gate.size * width
    if end > total or (not is_placed and end != total) or part.start < 0 or is_uneven:
        kind = {"out": "outputs", "each": "entries", "in": "inputs"}[side]
        raise TieError(
            f"{gate.size} gates of width {gate.width} do not fit the {total} {kind} of {type(part.module).__name__}"
            + (f" from entry {part.start} on" if part.start else "")
            + ": change the gate's size, or name them by Part(layer, start, width)"
        )
    return Piece(gate, part.start, width, parts)


def _refused(module: nn.Module, side: Side) -> str:
    name = type(module).__name__
    if isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.RMSNorm):
        return (
            f"{name} mixes the entries that it normalises, so that none can be removed: gate after it, with no producer"
        )
    if isinstance(module, _ConvNd) and module.groups > 1:
        return f"{name} has {module.groups} groups: only a depthwise one can lose channels, as one of `norms`"
    allowed = {
        "out": "Linear, Conv, ConvTranspose or Embedding",
        "each": "BatchNorm, InstanceNorm, PReLU or a depthwise Conv",
        "in": "Linear, Conv or ConvTranspose",
    }
    role = {"out": "a producer", "each": "a norm", "in": "a consumer"}[side]
    return f"{name} cannot lose entries as {role}, which is a {allowed[side]}"


def _stranger(gate: str, module: nn.Module) -> str:
    return f"{gate!r} is tied to a {type(module).__name__} that is not in the network: tie it to the one that is"
