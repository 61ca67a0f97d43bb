"""A case of `fuzz`: a call, whether its input is valid, and what is checked of its results."""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

DOCUMENTED = (ValueError, TypeError)
_TORCH_WORDS = (
    "expected scalar type",
    "expected a",
    "expected m",
    "mat1",
    "must match the size",
    "!= ",
    "Boolean value of",
)


@dataclass
class Case:
    """A call.

    Attributes:
        what: the name of what is called, and how.
        run: makes the call.
        valid: whether the input is valid; None: either.
        leaves: tensors whose gradients are looked at: (tensor, the size that a gradient may have by right).
        check: says what is wrong with a result, or yields nothing.
        backward: whether the results are differentiated.
    """

    what: str
    run: Callable[[], Any]
    valid: bool | None = True
    leaves: list[tuple[Tensor, float]] = field(default_factory=list)
    check: Callable[[Any], Iterator[str]] = lambda result: iter(())
    backward: bool = True
    infinite: bool = False  # whether results may hold infinities: log-probabilities of what cannot be


def faults(case: Case) -> list[str]:
    """What is wrong with a case."""
    try:
        result = _strictly(case.run)
    except DOCUMENTED as error:
        if case.valid:
            return [f"valid input refused: {type(error).__name__}: {error}"]
        text = str(error)
        if len(text) < 15 or any(words in text for words in _TORCH_WORDS):
            return [f"a riddle: {type(error).__name__}: {text}"]
        return []
    except Exception as error:
        return [f"crash: {type(error).__name__}: {str(error)[:200]}"]
    if case.valid is False:
        return ["bad input taken in silence"]
    if case.valid is None:
        return []
    found = []
    for value in tensors(result):
        if not value.is_floating_point():
            continue
        if value.isnan().any():
            found.append("NaN in a result")
        elif value.isinf().any() and not case.infinite:
            found.append("infinity in a result")
    found += case.check(result)
    return found + (_gradients(case, result) if case.backward else [])


def _strictly(call: Callable[[], Any]) -> Any:
    """A call in which a warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return call()


def tensors(result: Any) -> list[Tensor]:
    return [each.detach() for each in tree_leaves(result) if isinstance(each, Tensor)]


def _gradients(case: Case, result: Any) -> list[str]:
    loss: Any = 0.0
    for value in tree_leaves(result):
        if isinstance(value, Tensor) and value.requires_grad:
            weights = torch.linspace(-1.0, 2.0, value.numel(), dtype=torch.float64).view(value.shape)
            finite = torch.where(value.detach().isfinite(), value, 0.0) if case.infinite else value
            loss = loss + (finite.double() * weights).sum()
    if not isinstance(loss, Tensor):
        return []
    for leaf, _ in case.leaves:
        leaf.grad = None
    try:
        _strictly(loss.backward)
    except Exception as error:
        return [f"crash of backward: {type(error).__name__}: {str(error)[:200]}"]
    found = []
    for number, (leaf, size) in enumerate(case.leaves):
        # beyond the largest number of its dtype a gradient is infinite by right, and sums of such ones are NaN
        if leaf.grad is not None and not leaf.grad.isfinite().all() and size < torch.finfo(leaf.dtype).max / 1e3:
            found.append(f"gradient {number} of {leaf.dtype} holds {leaf.grad[~leaf.grad.isfinite()][:3].tolist()}")
    return found


def close(value: Tensor, expected: Tensor, what: str, relative: float, absolute: float | Tensor = 0.0) -> Iterator[str]:
    """A fault if a result differs from its reference."""
    if value.shape != expected.shape:
        yield f"{what} has shape {tuple(value.shape)} instead of {tuple(expected.shape)}"
        return
    a, b = value.detach().double(), expected.detach().double()
    same = (a == b) | (a.isnan() & b.isnan())
    error = torch.where(same, 0.0, (a - b).abs())
    if not (error <= absolute + relative * b.abs()).all():
        worst = int((error - relative * b.abs()).flatten().argmax())
        yield f"{what} is {a.flatten()[worst]:.8g} instead of {b.flatten()[worst]:.8g}"


def epsilon(*values: Tensor) -> float:
    """The rounding of a result: of its dtype, and of float32, in which everything is computed."""
    return max(1.2e-7, *(torch.finfo(value.dtype).eps for value in values if value.is_floating_point()))


def sample_faults(
    sample: Tensor, logits: Tensor, total: float, dim: int = -1, hard: bool = False, most: float = 1.0
) -> Iterator[str]:
    """What is wrong with a relaxed or discrete choice: its form, its sum, its range, mass where a category is masked."""
    if sample.shape != logits.shape or sample.dtype != logits.dtype:
        yield f"{sample.dtype}{tuple(sample.shape)} instead of {logits.dtype}{tuple(logits.shape)}"
        return
    if not sample.numel():
        return
    values, eps = sample.detach().double(), epsilon(sample)
    size = logits.shape[dim]
    if not ((values.sum(dim) - total).abs() <= 4 * eps * (size + total)).all():
        yield f"sums to {values.sum(dim).flatten()[:3].tolist()} instead of {total}"
    if values.min() < 0 or values.max() > most + 8 * eps:
        yield f"lies in {values.min()} to {values.max()}"
    if (values[logits.detach().isneginf()] != 0).any():
        yield "mass where a category is masked"
    if hard and not ((values == 0) | (values == 1)).all():
        yield "other entries than 0 and 1"


def _lowest(tau: Any) -> float:
    """The smallest temperature; 1 where it is none at all."""
    if isinstance(tau, Tensor):
        return float(tau.detach().double().min()) if tau.numel() and not tau.is_complex() else 1.0
    return float(tau) if isinstance(tau, int | float) else 1.0


def spread(logits: Tensor, tau: Any) -> float:
    """The largest finite difference of logits over tau: the condition of what is computed from them."""
    x = logits.detach().double()
    x = x[x.isfinite()]
    low = _lowest(tau)
    return float(x.max() - x.min()) / low if x.numel() and low > 0 else 0.0


def gradient_size(logits: Tensor, tau: Any, power: int) -> float:
    """How large a gradient to the logits (power 1) or to tau (power 2) may be by right."""
    x = logits.detach().double()
    x = x[x.isfinite()].abs()
    largest = float(x.max()) if x.numel() else 0.0
    divisor = max(0.0, min(_lowest(tau), 1.0)) ** power
    return 100.0 * (1.0 if power == 1 else largest + 100.0) * logits.numel() / divisor if divisor > 0 else math.inf
