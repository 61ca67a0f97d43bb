"""Single insertions and deletions, and shifts of a part, with the totals that the gradient predicts for them.

    predicted = goal.loss(score + sum over l of g[l, x'_l] - g[l, x_l]) + edit_weight * edits(x')

where g is the gradient of the score at the sequence x and x' the edited sequence: the prediction of Grathwohl et al. (2021,
https://arxiv.org/abs/2102.04509) for letters that are shifted. An insertion at i changes all letters from i on, to their left
neighbours; so its sum is one letter's change and a sum to the end of g[l, x_{l-1}] - g[l, x_l]. Cumulative sums give those of
all places at once. A shift of a part is a deletion and an insertion: what lies outside the two stays in its place. For each
place of the one, the place of the other that is predicted best is taken.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.design.changes import applied, written
from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.search.beam import Scored


@dataclass(frozen=True)
class Indels:
    """Proposals for some sequences (f, length): proposal p of a sequence deletes a letter, inserts one, or both.

    Attributes:
        predicted: float32 (f, p), the predicted totals; inf where the inserted letter is not allowed.
        deleted: int64 (f, p), the position of the deleted letter; `length` for the letter that leaves the window.
        inserted: int64 (f, p), the position of the inserted letter in the edited sequence, which after a deletion alone is the
            last one.
        letter: int64 (f, p), the inserted letter, or the one that enters the window.
    """

    predicted: Tensor
    deleted: Tensor
    inserted: Tensor
    letter: Tensor

    def edited(self, tokens: Tensor, rows: Tensor, numbers: Tensor) -> Tensor:
        """The edited sequences (n, length) of proposals `numbers` (n,) of the sequences `rows` (n,) of tokens (f, length)."""
        deleted, inserted = self.deleted[rows, numbers].unsqueeze(1), self.inserted[rows, numbers].unsqueeze(1)
        place = torch.arange(tokens.shape[1], device=tokens.device)
        # the place in the old sequence: one less after the insertion, one more after the deletion
        source = place - (place > inserted).long()
        source = source + (source >= deleted).long()
        found = tokens[rows].gather(1, source.clamp(0, tokens.shape[1] - 1))
        return found.scatter(1, inserted, self.letter[rows, numbers].unsqueeze(1))


def indel_proposals(problem: DesignProblem, members: Scored) -> Indels:
    """All single insertions and deletions of sequences, and for each place a shift of a part in both directions.

    Args:
        problem: defines the totals; its start is Edit(indels=N).
        members: evaluated sequences (f, length) with the gradients of their scores.

    Returns:
        length * letters insertions, length deletions and 2 * length shifts of a part for each sequence.
    """
    tokens, letters = members.tokens, len(problem.alphabet)
    count, length = tokens.shape
    gain = members.slopes - members.slopes.gather(-1, tokens.unsqueeze(-1))  # of another letter at its place
    places = torch.arange(length, device=tokens.device)
    # g[l, x_{l-1}] - g[l, x_l] and g[l, x_{l+1}] - g[l, x_l]: of the neighbour's letter; 0 where there is no neighbour
    from_left = gain.gather(-1, tokens.roll(1, 1).unsqueeze(-1)).squeeze(-1).masked_fill(places == 0, 0)
    from_right = gain.gather(-1, tokens.roll(-1, 1).unsqueeze(-1)).squeeze(-1).masked_fill(places == length - 1, 0)
    left_sum, right_sum = _prefix_sums(from_left), _prefix_sums(from_right)

    direction = _direction(problem, members.scores)
    wanted = (direction.view(-1, 1, 1) * gain).masked_fill(~problem.allowed, -torch.inf)
    best_letter = wanted.argmax(-1)
    best_gain = gain.gather(-1, best_letter.unsqueeze(-1)).squeeze(-1)
    entering = _entering(problem, tokens, best_letter[:, -1])
    entering_gain = gain[:, -1].gather(-1, entering.unsqueeze(-1))

    insertion = gain + (left_sum[:, -1:] - left_sum).unsqueeze(-1)
    deletion = right_sum[:, -1:] - right_sum + from_right + entering_gain
    # deleted at i, inserted at j > i: the letters from i to j - 1 come from the right
    end, at_end = _best_after(direction, right_sum - from_right + best_gain)
    to_left = end - (right_sum - from_right)
    # inserted at i, deleted at j > i: the letters from i + 1 to j come from the left
    far, at_far = _best_after(direction, left_sum)
    to_right = best_gain + far - left_sum

    change = torch.cat([insertion.flatten(1), deletion, to_left, to_right], 1)
    edits = _edits(problem, tokens, entering, (at_end, best_letter.gather(1, at_end)), (at_far, best_letter))
    predicted = problem.goal.loss(members.scores.unsqueeze(1) + change) + problem.cost_of(edits)
    paired = (places < length - 1).repeat(2)  # there is a place after it
    usable = torch.cat([problem.allowed.flatten(), paired.new_ones(length), paired])
    rows = places.expand(count, -1)
    every = torch.arange(letters, device=tokens.device).repeat(length).expand(count, -1)
    return Indels(
        predicted.masked_fill(~usable, torch.inf).nan_to_num(torch.inf, posinf=torch.inf),
        torch.cat([torch.full_like(every, length), rows, rows, at_far], 1),
        torch.cat([rows.repeat_interleave(letters, 1), torch.full_like(rows, length - 1), at_end, rows], 1),
        torch.cat([every, entering.unsqueeze(1).expand(-1, length), best_letter.gather(1, at_end), best_letter], 1),
    )


def partly_undone(problem: DesignProblem, tokens: Tensor, keep: list[bool]) -> Tensor:
    """A sequence (length,) with some of its edits undone: `keep` says of each edit, in turn, whether it stays."""
    assert problem.edit_distance is not None
    alphabet, distance = problem.alphabet, problem.edit_distance
    sequence, reference = alphabet.decode(tokens), alphabet.decode(distance.reference)
    changes = [each for each in written(sequence, reference, distance.aligned(tokens)).split(";") if each]
    kept = [each for i, each in enumerate(changes) if keep[i % len(keep)] or "add" in each]
    kept.append(f"{len(reference)}add{sequence}")  # letters that enter if fewer than before are left
    return alphabet.encode(applied(";".join(kept), reference, len(sequence))).to(tokens.device)


def _prefix_sums(values: Tensor) -> Tensor:
    """Sums of (f, length) up to each place, in log2(length) steps; `cumsum` has no deterministic algorithm on CUDA."""
    step = 1
    while step < values.shape[1]:
        values = torch.cat([values[:, :step], values[:, step:] + values[:, :-step]], 1)
        step *= 2
    return values


def _direction(problem: DesignProblem, scores: Tensor) -> Tensor:
    """+1 where a higher score is better, -1 where a lower one is, (f,)."""
    step = 1e-3 * (1 + scores.abs())
    return torch.where(problem.goal.loss(scores + step) <= problem.goal.loss(scores), 1.0, -1.0)


def _entering(problem: DesignProblem, tokens: Tensor, free: Tensor) -> Tensor:
    """The letters that a deletion moves into the window, (f,): the reference's, or after its end the letters `free`."""
    assert problem.edit_distance is not None
    found = problem.edit_distance.entering(tokens)
    return torch.where(found < 0, free, found)


def _best_after(direction: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """For each place the best of the values after it and its place, both (f, length); of the last place, itself."""
    best = (direction.unsqueeze(1) * values).flip(1).cummax(1)
    places = values.shape[1] - 1 - best.indices.flip(1)
    places = torch.cat([places[:, 1:], places[:, -1:]], 1)
    return values.gather(1, places), places


def _edits(
    problem: DesignProblem,
    tokens: Tensor,
    entering: Tensor,
    to_left: tuple[Tensor, Tensor],
    to_right: tuple[Tensor, Tensor],
) -> Tensor:
    """The number of edits of all proposals, (f, p). For a shift of a part the changes by its two edits are added."""
    assert problem.edit_distance is not None
    letters = len(problem.alphabet)
    if not problem.start.edit_weight:
        return tokens.new_zeros(1, 1)
    now = problem.edits(tokens).unsqueeze(1)
    inserted, deleted = (
        problem.edit_distance.insertions(tokens, letters),
        problem.edit_distance.deletions(tokens, entering),
    )
    places = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)

    def at(place: Tensor, letter: Tensor) -> Tensor:
        return inserted.flatten(1).gather(1, place * letters + letter)

    end, end_letter = to_left
    # in the sequence before the deletion the insertion is one place farther to the right
    first = deleted + at((end + 1).clamp(max=tokens.shape[1] - 1), end_letter) - now
    far, far_letter = to_right
    second = at(places, far_letter) + deleted.gather(1, far) - now
    return torch.cat([inserted.flatten(1), deleted, first.clamp_min(0), second.clamp_min(0)], 1)
