"""Repair: the fewest edits, greedily, that make a sequence keep every constraint. It calls no oracle.

Edits are proposed by the gradient of the penalty and accepted on its exact value, as Grathwohl et al. 2021
(https://arxiv.org/abs/2102.04509) propose moves by a gradient; faults far apart are mended together; where nothing helps, a
random edit of a broken place leaves the local minimum.
"""

import torch
from torch import Tensor

from discrete_lightning.design.constraints.constraint_set import ConstraintSet

_PROPOSALS = 32
_GAIN = 1e-6  # above the rounding of a penalty
_APART = 16  # letters between edits that are made together: two in one fault would be one too many


def repair(
    rules: ConstraintSet,
    tokens: Tensor,
    generator: torch.Generator | None = None,
    rounds: int = 500,
    enough: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Sequences that keep all constraints, near to the given ones.

    Args:
        rules: the constraints.
        tokens: int64 (N, length).
        generator: source of randomness, on the tokens' device.
        rounds: of edits, at most.
        enough: how many sequences have to keep the rules before it ends; None: all.

    Returns:
        tokens (N, length), and which of them keep all constraints (N,).
    """
    tokens = _to_allowed(rules, tokens)
    done = rules.satisfied(tokens)
    for _ in range(rounds):
        if int(done.sum()) >= (len(done) if enough is None else enough):
            break
        where = (~done).nonzero().flatten()
        tokens[where] = _edited(rules, tokens[where], generator)
        done[where] = rules.satisfied(tokens[where])
    return tokens, done


def _to_allowed(rules: ConstraintSet, tokens: Tensor) -> Tensor:
    """Replaces letters that a position does not allow by its first allowed one."""
    allowed = rules.allowed.expand(len(tokens), -1, -1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    return torch.where(allowed, tokens, rules.allowed.int().argmax(-1))


def _edited(rules: ConstraintSet, tokens: Tensor, generator: torch.Generator | None) -> Tensor:
    """The best of single edits and of several together; a random one of the proposals where none is better."""
    count, length = tokens.shape
    letters = len(rules.alphabet)
    with torch.enable_grad():
        leaf = rules.one_hot(tokens).requires_grad_()
        current = rules.penalty(leaf)
        (slope,) = torch.autograd.grad(current.sum(), leaf) if current.requires_grad else (torch.zeros_like(leaf),)
    current = current.detach()
    change = slope - slope.gather(-1, tokens.unsqueeze(-1))
    noise = torch.rand(change.shape, generator=generator, device=tokens.device)
    # ties are common (integer counts of motifs): broken at random, so that repeated tries differ
    change = (change + 1e-3 * noise).masked_fill(~rules.allowed, torch.inf).scatter(-1, tokens.unsqueeze(-1), torch.inf)
    proposals = min(_PROPOSALS, length * (letters - 1))
    values, best = change.flatten(1).topk(proposals, largest=False)
    place, letter = best // letters, best % letters
    candidates = tokens.unsqueeze(1).repeat(1, proposals, 1)
    candidates.scatter_(2, place.unsqueeze(-1), letter.unsqueeze(-1))
    exact = rules.penalty(rules.one_hot(candidates)).masked_fill(values.isinf(), torch.inf)
    chosen = exact.argmin(1)
    least = exact.gather(1, chosen.unsqueeze(1)).squeeze(1)
    stuck = least >= current - _GAIN
    # among the proposals the gradient blames broken places: any of them may lead out
    usable = values.isfinite().sum(1).clamp_min(1)
    pick = (torch.rand(count, generator=generator, device=tokens.device) * usable).long()
    chosen = torch.where(stuck, pick, chosen)
    edited = candidates[torch.arange(count, device=tokens.device), chosen]
    together, gains = _together(tokens, place, letter, current.unsqueeze(1) - exact)
    if together.shape[1]:
        values = rules.penalty(rules.one_hot(together))
        # where effects do not add up some of the edits mend the same fault
        values = values.masked_fill(current.unsqueeze(1) - values < 0.99 * gains, torch.inf)
        least_of_several, chosen = values.min(1)
        several = together[torch.arange(count, device=tokens.device), chosen]
        edited = torch.where((least_of_several < least - _GAIN).unsqueeze(1), several, edited)
    return edited


def _together(tokens: Tensor, place: Tensor, letter: Tensor, gains: Tensor) -> tuple[Tensor, Tensor]:
    """The best 2, 4, 8 ... edits that help alone, far apart: (N, sizes, length), and the sums of their gains (N, sizes)."""
    gains, order = gains.sort(dim=1, descending=True, stable=True)
    place, letter = place.gather(1, order), letter.gather(1, order)
    near = (place.unsqueeze(2) - place.unsqueeze(1)).abs() < _APART
    taken = (gains > _GAIN) & ~near.tril(-1).any(2)  # a better edit near by goes first
    rank = taken.cumsum(1)
    step = letter - tokens.gather(1, place)
    sizes = [2**i for i in range(1, 6) if 2 ** (i - 1) < int(rank.max())]
    # integers, so that the order of the sums does not matter; an edit that is not taken adds 0
    rows = [tokens.scatter_add(1, place, step * (taken & (rank <= size))) for size in sizes]
    sums = [(gains.clamp_min(0) * (taken & (rank <= size))).sum(1) for size in sizes]
    if not rows:
        return tokens.new_empty(len(tokens), 0, tokens.shape[1]), gains[:, :0]
    return torch.stack(rows, 1), torch.stack(sums, 1)
