"""Edits ranked by the total that the gradient predicts for them (Grathwohl et al. 2021, https://arxiv.org/abs/2102.04509).

    predicted(l, k) = goal.loss(score + g[l, k] - g[l, x_l]) + edit_weight * edits(l, k)

for letter k at position l, where g is the gradient of the score and x the sequence. Insertions and deletions are ranked with
them where the start allows them (see indel_proposals).
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.search.beam import Scored
from discrete_lightning.design.search.indel_proposals import indel_proposals


def ranked_edits(problem: DesignProblem, members: Scored, batch: int) -> Iterator[Tensor]:
    """Edited sequences in batches (n, length): first sets of edits of the best member, then single edits of all members.

    Args:
        problem: defines the totals and the letters that are allowed.
        members: evaluated sequences, best first.
        batch: the size of the first batch of single edits; the following ones are larger.
    """
    tokens = members.tokens
    change = members.slopes - members.slopes.gather(-1, tokens.unsqueeze(-1))
    after = problem.edits_of_substitutions(tokens)
    edits, cost = after - problem.edits(tokens).view(-1, 1, 1), problem.cost_of(after)
    predicted = problem.goal.loss(members.scores.view(-1, 1, 1) + change) + cost
    predicted = predicted.masked_fill(~problem.allowed, torch.inf).scatter(-1, tokens.unsqueeze(-1), torch.inf)
    yield from _combined_edits(problem, members, predicted[0], change[0], edits[0])
    single, letters = predicted.flatten(1).nan_to_num(torch.inf, posinf=torch.inf), len(problem.alphabet)
    substitutions, indels = (
        single.shape[1],
        None if problem.edit_distance is None else indel_proposals(problem, members),
    )
    flat = (single if indels is None else torch.cat([single, indels.predicted], 1)).flatten()
    width = flat.numel() // len(tokens)
    taken, size = 0, batch
    while taken < int(flat.isfinite().sum()):
        size = min(size, flat.numel())
        values, order = flat.topk(size, largest=False)
        order = order[taken:][values[taken:].isfinite()]
        place = order % width
        edited = tokens[order // width].clone()
        shifted = place >= substitutions
        rows = (~shifted).nonzero().flatten()
        edited[rows, place[rows] // letters] = place[rows] % letters
        if indels is not None and shifted.any():
            edited[shifted] = indels.edited(tokens, order[shifted] // width, place[shifted] - substitutions)
        yield edited
        taken, size = size, 4 * size


def _combined_edits(
    problem: DesignProblem, members: Scored, predicted: Tensor, change: Tensor, edits: Tensor
) -> Iterator[Tensor]:
    """The best 2, 4, 8 ... edits of different positions at once, as long as the prediction improves with their number."""
    tokens = members.tokens[0]
    best, letter = predicted.min(-1)
    order = best.argsort(stable=True)
    order = order[best[order] < members.totals[0]]
    gains = change.gather(-1, letter.unsqueeze(-1)).squeeze(-1)[order]
    added, before = edits.gather(-1, letter.unsqueeze(-1)).squeeze(-1)[order], problem.edits(tokens)

    def total(size: int) -> Tensor:
        return problem.goal.loss(members.scores[0] + gains[:size].sum()) + problem.cost_of(before + added[:size].sum())

    rows, size = [], 2
    while size <= len(order) and total(size) < total(size // 2):
        row = tokens.clone()
        row[order[:size]] = letter[order[:size]]
        rows.append(row)
        size *= 2
    if rows:
        yield torch.stack(rows[::-1])
