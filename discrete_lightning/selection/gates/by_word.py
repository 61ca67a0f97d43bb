"""Gates by one word, by an estimator, or by its name."""

import inspect
from typing import Any

import torch

from discrete_lightning import estimators
from discrete_lightning.estimators import Estimator
from discrete_lightning.selection.gates.gate import Gate
from discrete_lightning.selection.gates.gate_layer import GateLayer
from discrete_lightning.selection.gates.hard_concrete import HardConcrete
from discrete_lightning.selection.gates.stochastic_gate import StochasticGate

GATES: dict[str, type[GateLayer]] = {"hard_concrete": HardConcrete, "stochastic": StochasticGate, "bernoulli": Gate}


def gate_of(gate: str | Estimator, size: int, open: float | None = None, **options: Any) -> GateLayer:
    """The layer of gates that `gate` stands for.

    Args:
        gate: a word of `GATES`; or an estimator, or its name, for a `Gate` with it.
        size: number of gates.
        open: how open gates are at first, in (0, 1), in the unit of each kind: Bernoulli's probability, 1 minus hard concrete's
            drop rate, or P(gate > 0) of the normal distribution; None leaves it to the kind.
        options: arguments by name: `dim`, `per`, `width`, and those of the kind.

    Raises:
        ValueError: if the word is unknown, `open` is out of range, the gates have no such option, or the estimator needs the
            loss's value.

    Example:
        >>> gate_of("hard_concrete", 16, dim=1)
        HardConcrete(size=16, dim=1, per='row')
        >>> gate_of("ReinMax", 16).sampler.estimator
        ReinMax()
    """
    named = getattr(estimators, gate, None) if isinstance(gate, str) else None
    if isinstance(named, type) and issubclass(named, Estimator) and named is not Estimator:
        gate = named()
    if isinstance(gate, Estimator):
        if not gate.pathwise:
            raise ValueError(
                f"{gate} needs the loss's value for each draw, and gates inside a network are drawn once: take another "
                "estimator, such as ReinMax, or use `Gate.expectation` in Python"
            )
        kind: type[GateLayer] = Gate
        options = {"estimator": gate, **options}
    elif gate in GATES:
        kind = GATES[gate]
    else:
        raise ValueError(
            f"gate must be an estimator or its name (ReinMax, GumbelSoftmax, ...), or one of {', '.join(GATES)}; got {gate!r}"
        )
    known = [name for name in inspect.signature(kind.__init__).parameters if name not in ("self", "size")]
    if unknown := [name for name in options if name not in known]:
        raise ValueError(f"{kind.__name__} has no option {', '.join(unknown)}: its options are {', '.join(known)}")
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
