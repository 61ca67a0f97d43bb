"""An automaton whose paths are the sequences that satisfy constraints on positions, codons, motifs, runs and total GC content.

A state holds the forbidden patterns that are partly matched (Baeza-Yates and Gonnet 1992,
https://doi.org/10.1145/135239.135243) and the letters of the current codon. Dynamic programming over positions decides whether
a path exists, and between which numbers of G and C the paths lie.
"""

from collections.abc import Sequence
from itertools import product

from torch import Tensor

from discrete_lightning.design.alphabet import Alphabet
from discrete_lightning.design.constraints.base import Pattern
from discrete_lightning.design.constraints.constraint_set import ConstraintSet

State = tuple[int, str]
_START: State = (0, "")


class _Automaton:
    """Reads a sequence letter by letter and rejects it at a forbidden pattern or at a codon that is not allowed."""

    def __init__(
        self, patterns: Sequence[Pattern], codons: Sequence[tuple[int, list[frozenset[str]]]], alphabet: Alphabet
    ) -> None:
        self.starts = self.ends = 0
        self.advance = dict.fromkeys(alphabet.letters, 0)
        offset = 0
        for pattern in patterns:
            self.starts |= 1 << offset
            for i, letters in enumerate(pattern):
                for letter in letters:
                    self.advance[letter] |= 1 << (offset + i)
            offset += len(pattern)
            self.ends |= 1 << (offset - 1)
        self.codon_at: dict[
            int, set[str]
        ] = {}  # position of a codon's first letter -> codons that all constraints allow
        for start, allowed in codons:
            for i, codon in enumerate(allowed):
                at = start + 3 * i
                named = {c.replace("T", "U") if "U" in alphabet.letters else c for c in codon}
                self.codon_at[at] = self.codon_at.get(at, named) & named
        # reading frames may differ between constraints, so the last two letters are always kept
        self.memory = 2 if self.codon_at else 0

    def step(self, state: State, position: int, letter: str) -> State | None:
        """The state after a letter at a position, or None if the letter breaks a rule."""
        matched = ((state[0] << 1) | self.starts) & self.advance[letter]
        if matched & self.ends:
            return None
        if not self.memory:
            return matched, ""
        recent = state[1] + letter
        codons = self.codon_at.get(position - 2)
        if codons is not None and recent not in codons:
            return None
        return matched, recent[-2:]


def find_path(rules: ConstraintSet, steps: int) -> tuple[Tensor | None, bool]:
    """A sequence of allowed codons and letters without forbidden patterns.

    Repeats and the GC content of windows are ignored. Of the total GC content only the range over all paths is compared.

    Args:
        rules: the constraints.
        steps: the maximum number of steps of the automaton; a million take about a second, and gapped motifs have many states.

    Returns:
        the sequence (length,) or None; and whether it is certain that no sequence satisfies all rules.
    """
    length, alphabet = rules.length, rules.alphabet
    codons = [required for rule in rules.constraints if (required := rule.codons(length)) is not None]
    automaton = _Automaton(patterns_within(rules, length), codons, alphabet)
    bounds = [found for rule in rules.constraints if (found := rule.gc_bounds(length)) is not None]
    fewest = max((low for width, low, _ in bounds if width == length), default=0)
    most = min((high for width, _, high in bounds if width == length), default=length)
    # state -> minimum and maximum number of G and C over the paths that lead to it
    reached: dict[State, tuple[int, int]] = {_START: (0, 0)}
    arrived_from: list[dict[State, tuple[State, str]]] = []
    for position, row in enumerate(rules.allowed.tolist()):
        letters = [letter for letter, is_allowed in zip(alphabet.letters, row, strict=True) if is_allowed]
        following: dict[State, tuple[int, int]] = {}
        arrived_from.append({})
        for (state, (low, high)), letter in product(reached.items(), letters):
            new = automaton.step(state, position, letter)
            if new is None:
                continue
            gc = letter in "GC"
            before = following.get(new, (length, 0))
            following[new] = min(before[0], low + gc), max(before[1], high + gc)
            arrived_from[-1].setdefault(new, (state, letter))
        if not following:
            return None, True
        steps -= len(reached) * len(letters)
        if steps < 0:
            return None, False
        reached = following
    if min(low for low, _ in reached.values()) > most or max(high for _, high in reached.values()) < fewest:
        return None, True
    state, text = next(iter(reached)), ""
    for step in reversed(arrived_from):
        state, letter = step[state]
        text = letter + text
    return alphabet.encode(text), False


def patterns_within(rules: ConstraintSet, length: int) -> list[Pattern]:
    """The forbidden patterns that are not longer than a sequence."""
    found = [pattern for rule in rules.constraints for pattern in rule.patterns(rules.alphabet)]
    return [pattern for pattern in found if len(pattern) <= length]


def count_words(rules: ConstraintSet, width: int, enough: int) -> int:
    """An upper bound of the number of words of `width` letters without forbidden patterns. Counting stops above `enough`."""
    automaton = _Automaton(patterns_within(rules, width), [], rules.alphabet)
    anywhere = rules.allowed.any(0).tolist()
    letters = [letter for letter, is_allowed in zip(rules.alphabet.letters, anywhere, strict=True) if is_allowed]
    counts: dict[State, int] = {_START: 1}
    for position in range(width):
        following: dict[State, int] = {}
        for (state, count), letter in product(counts.items(), letters):
            if (new := automaton.step(state, position, letter)) is not None:
                following[new] = following.get(new, 0) + count
        counts = following
        if len(counts) > enough:  # different words lead to different states, so there are at least as many words
            return enough + 1
    return sum(counts.values())
