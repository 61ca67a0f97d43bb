"""Repair of sequences of a design problem."""

import torch
from torch import Tensor

from discrete_lightning.design.constraints import repair as repair_by
from discrete_lightning.design.problem import DesignProblem


def repair(
    problem: DesignProblem, tokens: Tensor, generator: torch.Generator | None = None, rounds: int = 500
) -> tuple[Tensor, Tensor]:
    """Sequences that keep all constraints of a problem, near to the given ones; see `constraints.repair`.

    Where none of them can be mended, the one that the problem knows to keep them stands in the first row.

    Args:
        problem: gives the constraints.
        tokens: int64 (N, length).
        generator: source of randomness.
        rounds: of edits, at most.

    Returns:
        tokens (N, length), and which of them keep all constraints (N,).
    """
    tokens, kept = repair_by(problem.rules, tokens, generator, rounds)
    if len(tokens) and not kept.any():
        tokens[0], kept[0] = problem.known, True
    return tokens, kept
