"""The optimum of small problems, by enumeration."""

import torch

from discrete_lightning.design import (
    DesignProblem,
)


def every(length: int) -> torch.Tensor:
    return torch.cartesian_prod(*[torch.arange(4)] * length)


def best_of(problem: DesignProblem) -> float:
    """The least total of all sequences that keep the constraints, by enumeration."""
    tokens = every(problem.length)
    tokens = tokens[problem.feasible(tokens)]
    x = problem.one_hot(tokens).mT
    return float(problem.total(problem.evaluator.oracle(x), tokens).detach().min())
