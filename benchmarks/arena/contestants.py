"""Who competes: every exported estimator with its defaults, and settings that its paper reports beside them."""

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.arena.problem import Plan, Problem
from discrete_lightning import estimators
from discrete_lightning.estimators import Estimator

FURTHER: dict[str, Estimator] = {
    "LeaveOneOut(4)": estimators.LeaveOneOut(samples=4),
    "ReinMax at 1.5": estimators.ReinMax(),
}
FIXED = {"ReinMax at 1.5": Plan(1.5, 1.5)}  # the temperature of its paper for most VAEs, in place of the rule
PLANS = (*(Plan(tau, tau) for tau in (0.3, 0.6, 1.0, 1.5)), Plan(1.5, 0.1))


def contestants() -> dict[str, Estimator]:
    """By the names of tables."""
    exported = {name: getattr(estimators, name)() for name in estimators.__all__ if name != "Estimator"}
    return dict(sorted((exported | FURTHER).items(), key=lambda each: each[0].lower()))


def _gradient(problem: Problem, estimator: Estimator, tau: float) -> Iterator[Tensor]:
    torch.manual_seed(0)
    logits, function, _ = problem.choices(4, torch.Generator().manual_seed(0))
    logits = torch.randn_like(logits, requires_grad=True)  # not those of the start, which may be alike
    estimator.expectation(function, logits, tau, binary=problem.kind == "binary", k=problem.k).sum().backward()
    assert logits.grad is not None
    yield logits.grad


def plans(problem: Problem, estimator: Estimator) -> tuple[Plan, ...]:
    """Those to choose among; one where the gradient does not depend on tau."""
    first, second = (next(_gradient(problem, estimator, tau)) for tau in (1.0, 0.5))
    return (Plan(1.0, 1.0),) if torch.equal(first, second) else PLANS
