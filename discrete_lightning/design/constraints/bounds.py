"""Cheap proofs that no sequence satisfies a set of constraints."""

import torch
from torch import Tensor

from discrete_lightning.design.constraints.automaton import count_words, patterns_within
from discrete_lightning.design.constraints.constraint_set import ConstraintSet


def excluded(rules: ConstraintSet) -> bool:
    """Whether it is proved, by letters, GC content, patterns or repeats, that no sequence satisfies the rules."""
    return (
        not bool(rules.allowed.any(-1).all())
        or gc_pattern(rules) is None
        or _pattern_unavoidable(rules)
        or _too_few_words(rules)
    )


def gc_pattern(rules: ConstraintSet) -> Tensor | None:
    """An assignment of G/C or A/T to the positions that satisfies all limits of GC content and all allowed letters.

    Let S(i) be the number of G and C among the first i letters. Every rule bounds a difference: least(i) <= S(i + 1) - S(i) <=
    most(i) and low <= S(i + width) - S(i) <= high. Such a system has an integer solution if and only if its graph has no
    negative cycle, and the shortest paths are a solution (Cormen et al., Introduction to Algorithms, difference constraints).

    Returns:
        bool (length,), True for G or C, all False if no rule limits the GC content; None if there is no assignment.
    """
    length = rules.length
    bounds = [found for rule in rules.constraints if (found := rule.gc_bounds(length)) is not None]
    if not bounds:
        return torch.zeros(length, dtype=torch.bool)
    is_gc = torch.tensor([letter in "GC" for letter in rules.alphabet.letters])
    allowed = rules.allowed.cpu()
    least, most = 1 - (allowed & ~is_gc).any(-1).long(), (allowed & is_gc).any(-1).long()
    limits = [(1, least, most)]
    limits += [(width, torch.tensor(low), torch.tensor(high)) for width, low, high in bounds]
    sums = torch.zeros(length + 1, dtype=torch.int64)
    for _ in range(length + 2):
        before = sums.clone()
        for width, low, high in limits:
            sums[width:] = torch.minimum(sums[width:], sums[:-width] + high)
            sums[:-width] = torch.minimum(sums[:-width], sums[width:] - low)
        if torch.equal(sums, before):
            return sums.diff() > 0
        if int(sums.min()) < -length:  # no difference can be so large: a negative cycle
            return None
    return None


def _pattern_unavoidable(rules: ConstraintSet) -> bool:
    """Whether the letters fixed by position already spell a forbidden pattern somewhere."""
    allowed = rules.allowed.float().cpu()
    for pattern in patterns_within(rules, rules.length):
        outside = torch.tensor([[letter not in letters for letter in rules.alphabet.letters] for letters in pattern])
        # (length, width): every letter allowed at the position matches this place of the pattern
        certain = allowed @ outside.float().T == 0
        places = rules.length - len(pattern) + 1
        if bool(torch.stack([certain[i : i + places, i] for i in range(len(pattern))]).all(0).any()):
            return True
    return False


def _too_few_words(rules: ConstraintSet) -> bool:
    """Whether fixed letters repeat a word, or a sequence has more places than there are words (pigeonhole principle)."""
    longest = [found for rule in rules.constraints if (found := rule.longest_repeat()) is not None]
    if not longest:
        return False
    width = min(longest) + 1
    places = rules.length - width + 1
    if places < 2:
        return False
    if count_words(rules, width, places) < places:
        return True
    fixed, letters = (rules.allowed.sum(-1) == 1).tolist(), rules.allowed.int().argmax(-1).tolist()
    words = [tuple(letters[i : i + width]) for i in range(places) if all(fixed[i : i + width])]
    return len(set(words)) < len(words)
