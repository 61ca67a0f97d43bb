"""Gates by one word, by an estimator, or gates that were built before."""

from typing import Any

from discrete_lightning import estimators
from discrete_lightning.estimators import Estimator
from discrete_lightning.selection.gates.gate import Gate
from discrete_lightning.selection.gates.gate_layer import GateLayer
from discrete_lightning.selection.gates.hard_concrete import HardConcrete
from discrete_lightning.selection.gates.select_k import SelectK
from discrete_lightning.selection.gates.stochastic_gate import StochasticGate

GATES = ("stochastic", "hard_concrete", "select_k")


def gate_of(gate: str | Estimator | GateLayer, size: int, **options: Any) -> GateLayer:
    """The layer of gates that `gate` stands for.

    Args:
        gate: "stochastic", "hard_concrete"; "select_k", a subset, of which all are open at first; an estimator, or its name,
            for a `Gate` with it; or a layer.
        size: number of gates.
        options: arguments by name of the layer that is built, such as per="batch".

    Raises:
        ValueError: if the word is unknown, or the layer has another size.

    Example:
        >>> gate_of("ReinMax", 30).sampler.estimator
        ReinMax()
    """
    if isinstance(gate, GateLayer):
        if gate.size != size or options:
            raise ValueError(
                f"a {type(gate).__name__} of {gate.size} gates was given, and {size} are needed: build it anew"
            )
        return gate
    named = getattr(estimators, gate, None) if isinstance(gate, str) else None
    if isinstance(named, type) and issubclass(named, Estimator) and named is not Estimator:
        gate = named()
    if isinstance(gate, Estimator):
        return Gate(size, gate, **options)
    if gate == "stochastic":
        return StochasticGate(size, **options)
    if gate == "hard_concrete":
        return HardConcrete(size, **options)
    if gate == "select_k":
        return SelectK(size, size, **options)
    raise ValueError(
        f"gate must be one of {', '.join(GATES)}, an estimator or its name (ReinMax, LeaveOneOut, ...), or a layer of gates; "
        f"got {gate!r}"
    )
