"""Gates by one word, by an estimator, or gates that were built before."""

import inspect
from typing import Any

import torch

from discrete_lightning import estimators
from discrete_lightning.estimators import Estimator
from discrete_lightning.selection.gates.gate import Gate
from discrete_lightning.selection.gates.gate_layer import GateLayer
from discrete_lightning.selection.gates.hard_concrete import HardConcrete
from discrete_lightning.selection.gates.select_k import SelectK
from discrete_lightning.selection.gates.stochastic_gate import StochasticGate

GATES: dict[str, type[GateLayer]] = {
    "stochastic": StochasticGate,
    "hard_concrete": HardConcrete,
    "bernoulli": Gate,
    "select_k": SelectK,
}


def gate_of(gate: str | Estimator | GateLayer, size: int, open: float | None = None, **options: Any) -> GateLayer:
    """The layer of gates that `gate` stands for.

    Args:
        gate: "stochastic", "hard_concrete", "bernoulli"; "select_k", a subset, of which all are open at first; an estimator, or
            its name, for a `Gate` with it, or a `SelectK` with SIMPLE, whose subject are subsets; or a layer.
        size: number of gates.
        open: how open gates are at first, in (0, 1), in the unit of each kind: Bernoulli's probability, 1 minus hard concrete's
            drop rate, or P(gate > 0) of the normal distribution; None leaves it to the kind.
        options: arguments by name of the layer that is built, such as per="batch".

    Raises:
        ValueError: if the word is unknown, `open` is out of range, the gates have no such option, or the layer has another
            size.

    Example:
        >>> gate_of("hard_concrete", 16, dim=1)
        HardConcrete(size=16, dim=1, per='row')
        >>> gate_of("ReinMax", 16).sampler.estimator
        ReinMax()
    """
    if isinstance(gate, GateLayer):
        if gate.size != size or options or open is not None:
            raise ValueError(
                f"a {type(gate).__name__} of {gate.size} gates was given, and {size} are needed: build it anew"
            )
        return gate
    kind = _kind_of(gate)
    if (estimator := _estimator_of(gate)) is not None:
        options = {"estimator": estimator, **options}
    known = [name for name in inspect.signature(kind.__init__).parameters if name not in ("self", "size", "k")]
    if unknown := [name for name in options if name not in known]:
        raise ValueError(f"{kind.__name__} has no option {', '.join(unknown)}: its options are {', '.join(known)}")
    if kind is SelectK:
        return SelectK(size, size, **options)
    if open is None:
        return kind(size, **options)
    if not 0 < open < 1:
        raise ValueError(f"open is a probability in (0, 1), got {open}")
    if kind is HardConcrete:
        return kind(size, **({"drop": 1 - open} | options))
    if kind is Gate:
        return kind(size, **({"start": open} | options))
    layer = StochasticGate(size, **options)
    with torch.no_grad():
        layer.mu.add_(layer.sigma * torch.special.ndtri(torch.tensor(open)) - 0.5)
    return layer


def check_pathwise(gate: str | Estimator) -> None:
    """For networks whose gates lie inside, where a loss for each draw of each layer is not to be had.

    Raises:
        ValueError: if the gates' estimator needs one.
    """
    estimator = _estimator_of(gate)
    if estimator is not None and not estimator.pathwise:
        raise ValueError(
            f"{estimator} needs the loss's value for each draw, and gates inside a network are drawn once: take another "
            "estimator, such as ReinMax, or use `Gate.expectation` in Python"
        )


def _estimator_of(gate: str | Estimator) -> Estimator | None:
    named = getattr(estimators, gate, None) if isinstance(gate, str) else None
    if isinstance(named, type) and issubclass(named, Estimator) and named is not Estimator:
        return named()
    return gate if isinstance(gate, Estimator) else None


def _kind_of(gate: str | Estimator) -> type[GateLayer]:
    if (estimator := _estimator_of(gate)) is not None:
        # SIMPLE is a method for subsets: of one gate alone it is StraightThrough
        return SelectK if estimator.subsets == "conditional_bernoulli" else Gate
    if gate not in GATES:
        raise ValueError(
            f"gate must be one of {', '.join(GATES)}, an estimator or its name (ReinMax, LeaveOneOut, ...), or a layer of "
            f"gates; got {gate!r}"
        )
    return GATES[str(gate)]
