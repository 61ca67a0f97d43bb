"""Repair: the fewest single edits, greedily, that make a sequence keep every constraint. It calls no oracle.

Edits are proposed by the gradient of the penalty and accepted on its exact value, as Grathwohl et al. 2021
(https://arxiv.org/abs/2102.04509) propose moves by a gradient; where none helps, a random edit of a broken place leaves the
local minimum.
"""

import torch
from torch import Tensor

from discrete_lightning.design.problem import DesignProblem

_PROPOSALS = 32


def repair(
    problem: DesignProblem, tokens: Tensor, generator: torch.Generator | None = None, rounds: int = 500
) -> tuple[Tensor, Tensor]:
    """Sequences that keep all constraints, near to the given ones.

    Args:
        problem: gives the constraints.
        tokens: int64 (N, length).
        generator: source of randomness.
        rounds: edits at most.

    Returns:
        tokens (N, length), and which of them keep all constraints (N,).
    """
    tokens = _to_allowed(problem, tokens)
    done = problem.feasible(tokens)
    for _ in range(rounds):
        if done.all():
            break
        where = (~done).nonzero().flatten()
        tokens[where] = _one_edit(problem, tokens[where], generator)
        done[where] = problem.feasible(tokens[where])
    return tokens, done


def _to_allowed(problem: DesignProblem, tokens: Tensor) -> Tensor:
    """Replaces letters that a position does not allow by its first allowed one."""
    allowed = problem.allowed.expand(len(tokens), -1, -1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    return torch.where(allowed, tokens, problem.allowed.int().argmax(-1))


def _one_edit(problem: DesignProblem, tokens: Tensor, generator: torch.Generator | None) -> Tensor:
    count, length = tokens.shape
    letters = len(problem.alphabet)
    with torch.enable_grad():
        leaf = problem.one_hot(tokens).requires_grad_()
        current = problem.penalty(leaf)
        (slope,) = torch.autograd.grad(current.sum(), leaf) if current.requires_grad else (torch.zeros_like(leaf),)
    change = slope - slope.gather(-1, tokens.unsqueeze(-1))
    noise = torch.rand(change.shape, generator=generator, device=tokens.device)
    # ties are common (integer counts of motifs): broken at random, so that repeated tries differ
    change = (
        (change + 1e-3 * noise).masked_fill(~problem.allowed, torch.inf).scatter(-1, tokens.unsqueeze(-1), torch.inf)
    )
    proposals = min(_PROPOSALS, length * (letters - 1))
    values, best = change.flatten(1).topk(proposals, largest=False)
    candidates = tokens.unsqueeze(1).repeat(1, proposals, 1)
    candidates.scatter_(2, (best // letters).unsqueeze(-1), (best % letters).unsqueeze(-1))
    exact = problem.penalty(problem.one_hot(candidates)).masked_fill(values.isinf(), torch.inf)
    chosen = exact.argmin(1)
    stuck = exact.gather(1, chosen.unsqueeze(1)).squeeze(1) >= current.detach() - 1e-6
    # among the proposals the gradient blames broken places: any of them may lead out
    usable = values.isfinite().sum(1).clamp_min(1)
    pick = (torch.rand(count, generator=generator, device=tokens.device) * usable).long()
    chosen = torch.where(stuck, pick, chosen)
    return candidates[torch.arange(count, device=tokens.device), chosen]
