"""The choices of a layer in a forward pass, in one form for every kind of layer: `choices_made`."""

from collections.abc import Mapping
from functools import singledispatch
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from discrete_lightning.layers.relaxed import Relaxed
from discrete_lightning.layers.relaxed_subset import RelaxedSubset


class Choices(NamedTuple):
    """The choices of one forward pass: of k among K categories at each position, or of G gates at each position.

    Attributes:
        chosen: int64 (..., k), the categories chosen at each position (k may be 1); or bool (..., G), which gates
            are open.
        size: K, or G.
        logits: (..., K), or log-odds (..., G); None where the layer has none. softmax(logits) is what a choice is drawn from.
        mask: bool, True at the positions that count; of the leading shape of `chosen`, or of its first dimensions. None: all.

    Example:
        >>> Choices(torch.tensor([[2], [0]]), size=4).are_gates
        False
    """

    chosen: Tensor
    size: int
    logits: Tensor | None = None
    mask: Tensor | None = None

    @property
    def are_gates(self) -> bool:
        """Whether these are gates, and not categories."""
        return self.chosen.dtype == torch.bool


@singledispatch
def choices_made(layer: nn.Module, inputs: Mapping[str, Any], output: Any) -> Choices | None:  # noqa: ARG001
    """What `layer` chose in a forward pass; `ChoiceMonitor` counts it. Register a kind of layer beside its class.

    Args:
        layer: the layer.
        inputs: the arguments that `forward` got, by name.
        output: what it returned.

    Returns:
        The choices; None if this layer makes none that can be counted.

    Raises:
        TypeError: if nothing is registered for this kind of layer.

    Example:
        >>> class Router(nn.Linear):
        ...     pass
        >>> @choices_made.register
        ... def _(layer: Router, inputs, output):
        ...     return Choices(output.argmax(-1, keepdim=True), layer.out_features, logits=output)
        >>> makes_choices(Router(8, 4)), makes_choices(nn.Linear(8, 4))
        (True, False)
    """
    raise TypeError(
        f"choices_made does not know what a {type(layer).__name__} chooses: register a function for its class"
    )


def not_counted(layer: nn.Module, inputs: Mapping[str, Any], output: Any) -> None:
    """Register this for a kind of layer that is not counted; the layers inside it are not counted, either."""


def makes_choices(layer: nn.Module) -> bool:
    """Whether `choices_made` knows this kind of layer, `not_counted` ones included."""
    return choices_made.dispatch(type(layer)) is not choices_made.dispatch(object)


def is_counted(layer: nn.Module) -> bool:
    """Whether `choices_made` can tell what this kind of layer chose."""
    return makes_choices(layer) and choices_made.dispatch(type(layer)) is not not_counted


@choices_made.register
def _(layer: Relaxed, inputs: Mapping[str, Any], output: Tensor) -> Choices:
    # Of a relaxed sample the largest entry counts: for Gumbel-softmax that is an exact draw from softmax(logits), at every
    # temperature. Its soft mass is not: at a high temperature every category would seem to be in use.
    sample = output.detach() if output.ndim else output.detach().view(1)  # of a single gate
    chosen = sample > 0.5 if layer.binary else sample.argmax(-1, keepdim=True)
    return Choices(chosen, sample.shape[-1], _logits(layer, inputs))


@choices_made.register
def _(layer: RelaxedSubset, inputs: Mapping[str, Any], output: Tensor) -> Choices:
    chosen = output.detach().topk(layer.k, -1).indices
    return Choices(chosen, output.shape[-1], _logits(layer, inputs))


def _logits(layer: Relaxed, inputs: Mapping[str, Any]) -> Tensor | None:
    """What it draws from, unless a subclass gives its arguments other names; then there are no entropies."""
    logits = inputs.get("logits")
    return layer.scores(logits.detach()) if isinstance(logits, Tensor) else None
