"""Repair: greedy edits of a sequence until it satisfies all constraints. No oracle is called.

The gradient of the penalty proposes edits (Grathwohl et al. 2021, https://arxiv.org/abs/2102.04509), and the exact penalty
decides which one is made. Several edits that lie far apart are made at once. In a local minimum a random edit of a place that
breaks a rule is made.
"""

import torch
from torch import Tensor

from discrete_lightning.design.constraints.constraint_set import ConstraintSet

_PROPOSALS = 32
_GAIN = 1e-6  # larger than the rounding error of a penalty
_APART = 16  # the least distance of edits made at once: two edits of the same violation would be one too many


def repair(
    rules: ConstraintSet,
    tokens: Tensor,
    generator: torch.Generator | None = None,
    rounds: int = 500,
    enough: int | None = None,
    fallback: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Sequences that satisfy all constraints, close to the given ones.

    Args:
        rules: the constraints.
        tokens: int64 (N, length).
        generator: source of randomness, on the device of the tokens.
        rounds: the maximum number of rounds of edits.
        enough: the repair ends when so many sequences satisfy the rules; None: all.
        fallback: int64 (length,), a sequence that satisfies all rules. It replaces the first row if no row could be repaired.

    Returns:
        tokens (N, length), and which of them satisfy all constraints, bool (N,).
    """
    tokens = _to_allowed(rules, tokens)
    done = rules.satisfied(tokens)
    for _ in range(rounds):
        if int(done.sum()) >= (len(done) if enough is None else enough):
            break
        where = (~done).nonzero().flatten()
        tokens[where] = _edited(rules, tokens[where], generator)
        done[where] = rules.satisfied(tokens[where])
    if fallback is not None and len(tokens) and not done.any():
        tokens[0], done[0] = fallback, True
    return tokens, done


def _to_allowed(rules: ConstraintSet, tokens: Tensor) -> Tensor:
    """Replaces each letter that is not allowed at its position by the first letter that is allowed there."""
    allowed = rules.allowed.expand(len(tokens), -1, -1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    return torch.where(allowed, tokens, rules.allowed.int().argmax(-1))


def _edited(rules: ConstraintSet, tokens: Tensor, generator: torch.Generator | None) -> Tensor:
    """The best single edit or set of edits; a random one of the proposals if none lowers the penalty."""
    count, length = tokens.shape
    letters = len(rules.alphabet)
    with torch.enable_grad():
        leaf = rules.one_hot(tokens).requires_grad_()
        current = rules.penalty(leaf)
        (slope,) = torch.autograd.grad(current.sum(), leaf) if current.requires_grad else (torch.zeros_like(leaf),)
    current = current.detach()
    change = slope - slope.gather(-1, tokens.unsqueeze(-1))
    noise = torch.rand(change.shape, dtype=torch.float32, generator=generator, device=tokens.device)
    # ties are common (integer counts of motifs); random noise breaks them, so that repeated attempts differ
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
    # the gradient proposes places that break a rule, so a random proposal can leave the local minimum
    usable = values.isfinite().sum(1).clamp_min(1)
    pick = (torch.rand(count, dtype=torch.float32, generator=generator, device=tokens.device) * usable).long()
    chosen = torch.where(stuck, pick, chosen)
    edited = candidates[torch.arange(count, device=tokens.device), chosen]
    combined, gains = _combined(tokens, place, letter, current.unsqueeze(1) - exact)
    if combined.shape[1]:
        values = rules.penalty(rules.one_hot(combined))
        # if the effects do not add up, several edits correct the same violation
        values = values.masked_fill(current.unsqueeze(1) - values < 0.99 * gains, torch.inf)
        least_of_several, chosen = values.min(1)
        several = combined[torch.arange(count, device=tokens.device), chosen]
        edited = torch.where((least_of_several < least - _GAIN).unsqueeze(1), several, edited)
    return edited


def _combined(tokens: Tensor, place: Tensor, letter: Tensor, gains: Tensor) -> tuple[Tensor, Tensor]:
    """The best 2, 4, 8 ... edits, each of which helps alone and is far from the others, made at once.

    Returns:
        sequences (N, sizes, length), and the sums of the gains of the single edits (N, sizes).
    """
    gains, order = gains.sort(dim=1, descending=True, stable=True)
    place, letter = place.gather(1, order), letter.gather(1, order)
    near = (place.unsqueeze(2) - place.unsqueeze(1)).abs() < _APART
    taken = (gains > _GAIN) & ~near.tril(-1).any(2)  # of two edits that are near each other the better one is taken
    rank = taken.cumsum(1)
    step = letter - tokens.gather(1, place)
    sizes = [2**i for i in range(1, 6) if 2 ** (i - 1) < int(rank.max())]
    # sums of integers do not depend on their order; an edit that is not taken adds 0
    rows = [tokens.scatter_add(1, place, step * (taken & (rank <= size))) for size in sizes]
    sums = [(gains.clamp_min(0) * (taken & (rank <= size))).sum(1) for size in sizes]
    if not rows:
        return tokens.new_empty(len(tokens), 0, tokens.shape[1]), gains[:, :0]
    return torch.stack(rows, 1), torch.stack(sums, 1)
