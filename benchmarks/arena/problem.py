"""What the estimators compete on: a problem with discrete choices, its budget, and the loop that spends it.

A budget is a number of evaluations of the loss: `steps` steps of `rows` evaluations each. An estimator that evaluates the loss
E times for each example gets batches of rows / E examples, so that all make the same number of steps from the same number of
evaluations. One that needs more evaluations for a single example than a step has makes fewer steps.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from discrete_lightning.estimators import Estimator

Kind = Literal["categories", "binary", "subset"]
Loss = Callable[[Tensor], Tensor]


class Problem(nn.Module, ABC):
    """One instance, drawn by a seed.

    A subclass defines `choices` and `score`; whatever is learned is a parameter.

    Attributes:
        kind: what is chosen: one of K (`categories`), gates (`binary`) or `k` of K (`subset`).
        k: of a subset.
    """

    kind: Kind = "categories"
    k: int | None = None

    @abstractmethod
    def choices(self, examples: int, generator: torch.Generator) -> tuple[Tensor, Loss, Tensor | float]:
        """A batch: logits (B, *event), the loss of samples (..., B, *event) -> (..., B), and what else is minimised."""

    @abstractmethod
    def score(self) -> float:
        """What is reported, of discrete choices on data that was not trained on; lower is better."""

    def use(self, estimator: Estimator) -> None:
        """Tells a problem that draws by itself, or has a prior, from which distribution the estimator draws."""

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


@dataclass(frozen=True)
class Task:
    """A problem to be reported, the one that its temperature is chosen on, and the budget of both.

    Attributes:
        make: seed -> instance.
        tuning: seed -> instance of another problem of the kind: other sizes, data or functions.
        steps: of the optimiser, for an estimator that evaluates the loss once an example.
        rows: evaluations of the loss a step.
        seeds: how many are reported, where not said otherwise.
        unit: of the score.
        digits: after the point, in tables.
        kind: of its choices, as in its problems.
    """

    make: Callable[[int], Problem]
    tuning: Callable[[int], Problem]
    steps: int
    rows: int
    seeds: int
    unit: str
    digits: int = 2
    kind: Kind = "categories"

    def takes(self, estimator: Estimator) -> bool:
        """Whether the estimator is defined for choices of this kind."""
        return self.kind == "binary" or (estimator.categorical and (self.kind != "subset" or estimator.chooses_subsets))


@dataclass(frozen=True)
class Plan:
    """A temperature, or one that moves along a line from `start` to `end` as the budget is spent."""

    start: float
    end: float

    def at(self, spent: float) -> float:
        """The temperature when this share of the budget is spent."""
        return self.start + (self.end - self.start) * spent

    def __str__(self) -> str:
        return f"{self.start:g}" if self.start == self.end else f"{self.start:g} to {self.end:g}"


@dataclass
class Spent:
    """What a run took.

    Attributes:
        steps: of the optimiser.
        evaluations: of the loss.
    """

    steps: int = 0
    evaluations: int = 0


def train(problem: Problem, estimator: Estimator, plan: Plan, steps: int, rows: int, seed: int) -> Spent:
    """Spends steps * rows evaluations of the loss.

    Raises:
        TypeError, ValueError: if the estimator is not defined for this kind of choice.
    """
    torch.manual_seed(seed)
    batches, spent, each = torch.Generator().manual_seed(seed), Spent(), 1.0
    problem.use(estimator)
    optimizer = problem.optimizer()
    problem.train()
    while spent.evaluations < steps * rows:
        examples = max(1, round(rows / each))
        logits, function, rest = problem.choices(examples, batches)
        evaluated = 0

        def counted(sample: Tensor, function: Loss = function) -> Tensor:
            nonlocal evaluated
            losses = function(sample)
            evaluated += losses.numel()
            return losses

        tau = plan.at(spent.evaluations / (steps * rows))
        losses = estimator.expectation(counted, logits, tau, binary=problem.kind == "binary", k=problem.k)
        optimizer.zero_grad(set_to_none=True)
        (losses.mean() + rest).backward()
        optimizer.step()
        spent.steps += 1
        if spent.steps == 1 and evaluated > rows:  # the first batch was made before E was known: it counts as one step
            evaluated = max(rows, round(evaluated / examples))
            each = evaluated
        else:
            each = max(1.0, evaluated / examples)
        spent.evaluations += evaluated
    return spent
