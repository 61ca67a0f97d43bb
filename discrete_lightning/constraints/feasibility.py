"""Whether any sequence keeps a set of constraints, decided before the search.

Three decisions, from the strongest to the most general:

- few sequences (at most 65,536): every one is checked;
- constraints of position, codon, motif, run and GC share together: the sequences that keep them are the paths of an automaton
  (state = which forbidden patterns have begun, Baeza-Yates and Gonnet 1992, https://doi.org/10.1145/135239.135243, and the
  codon so far), and dynamic programming finds whether there is one, and how few or many G and C it can have;
- the rest (repeats, GC in windows against motifs): a witness is looked for (`design.repair`).
"""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from discrete_lightning.alphabet import Alphabet
from discrete_lightning.constraints.base import Constraint

_FEW = 65_536
State = tuple[int, str]


class Unsatisfiable(ValueError):
    """No sequence keeps all the constraints."""


def check_satisfiable(constraints: Sequence[Constraint], length: int, alphabet: Alphabet) -> None:
    """Raises Unsatisfiable if it is certain that no sequence of this length keeps them all, naming a minimal set at fault.

    Args:
        constraints: the rules.
        length: of the sequences.
        alphabet: of the sequences.

    Raises:
        Unsatisfiable: names constraints that exclude one another, none of which could be left out.
        ValueError: a constraint makes no sense for this length or alphabet.

    Example:
        >>> from discrete_lightning.alphabet import DNA
        >>> from discrete_lightning.constraints import FixedPositions, ForbiddenMotifs, GCContent
        >>> check_satisfiable([FixedPositions({0: "GAATTC"}), GCContent(0.2, 0.8), ForbiddenMotifs(["GAATTC"])], 20, DNA)
        Traceback (most recent call last):
        ...
        discrete_lightning.constraints.feasibility.Unsatisfiable: no sequence of length 20 keeps these together: ...
    """
    for constraint in constraints:
        constraint.validate(length, alphabet)
    if not excluded(constraints, length, alphabet):
        return
    guilty = list(constraints)
    for constraint in constraints:
        rest = [each for each in guilty if each is not constraint]
        if excluded(rest, length, alphabet):
            guilty = rest
    together = "; ".join(str(constraint) for constraint in guilty)
    raise Unsatisfiable(
        f"no sequence of length {length} keeps {'these together' if len(guilty) > 1 else 'this'}: {together}. "
        "Loosen or remove one of them"
    )


def excluded(constraints: Sequence[Constraint], length: int, alphabet: Alphabet) -> bool:
    """Whether it is certain that no sequence keeps all constraints."""
    allowed = allowed_letters(constraints, length, alphabet)
    counts = allowed.sum(-1)
    if not counts.all():
        return True
    if float(counts.double().log().sum()) <= torch.tensor(float(_FEW)).log() + 1e-9:
        return not any(satisfied(constraints, part, alphabet).any() for part in _enumerate(allowed).split(4096))
    return _no_path(constraints, length, alphabet, allowed)


def allowed_letters(constraints: Sequence[Constraint], length: int, alphabet: Alphabet) -> Tensor:
    """Letters that every constraint allows by position alone, bool (length, letters)."""
    mask = torch.ones(length, len(alphabet), dtype=torch.bool)
    for constraint in constraints:
        if (own := constraint.allowed(length, alphabet)) is not None:
            mask &= own
    return mask


def satisfied(constraints: Sequence[Constraint], tokens: Tensor, alphabet: Alphabet) -> Tensor:
    """Which sequences (..., length) keep all constraints, bool (...)."""
    result = torch.ones(tokens.shape[:-1], dtype=torch.bool, device=tokens.device)
    for constraint in constraints:
        result &= constraint.satisfied(tokens, alphabet)
    return result


def _enumerate(allowed: Tensor) -> Tensor:
    return torch.cartesian_prod(*[row.nonzero().flatten() for row in allowed]).view(-1, len(allowed))


class _Automaton:
    """Sequences without forbidden patterns that spell allowed codons, letter by letter."""

    def __init__(self, constraints: Sequence[Constraint], length: int, alphabet: Alphabet) -> None:
        patterns = [pattern for constraint in constraints for pattern in constraint.patterns(alphabet)]
        patterns = [pattern for pattern in patterns if len(pattern) <= length]
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
        self.codon_at: dict[int, set[str]] = {}  # position of a codon's first letter -> what every constraint allows
        for constraint in constraints:
            if (found := constraint.codons()) is not None:
                start, codons = found
                for i, codon in enumerate(codons):
                    at = start + 3 * i
                    named = {c.replace("T", "U") if "U" in alphabet.letters else c for c in codon}
                    self.codon_at[at] = self.codon_at.get(at, named) & named
        # frames may differ between constraints: a codon's letters are remembered for as long as any frame needs them
        self.memory = 2 if self.codon_at else 0

    def step(self, state: State, position: int, letter: str) -> State | None:
        """The state after a letter at a position, or None if a rule is broken."""
        begun = ((state[0] << 1) | self.starts) & self.advance[letter]
        if begun & self.ends:
            return None
        if not self.memory:
            return begun, ""
        recent = state[1] + letter
        codons = self.codon_at.get(position - 2)
        if codons is not None and recent not in codons:
            return None
        return begun, recent[-2:]


def _no_path(constraints: Sequence[Constraint], length: int, alphabet: Alphabet, allowed: Tensor) -> bool:
    automaton = _Automaton(constraints, length, alphabet)
    rows = [[letter for letter, there in zip(alphabet.letters, row, strict=True) if there] for row in allowed.tolist()]
    bounds = [found for constraint in constraints if (found := constraint.gc_bounds(length)) is not None]
    fewest = max((low for width, low, _ in bounds if width == length), default=0)
    most = min((high for width, _, high in bounds if width == length), default=length)
    # state -> fewest and most G or C of the paths that lead there
    reached: dict[State, tuple[int, int]] = {(0, ""): (0, 0)}
    for position, letters in enumerate(rows):
        following: dict[State, tuple[int, int]] = {}
        for (state, (low, high)), letter in product(reached.items(), letters):
            new = automaton.step(state, position, letter)
            if new is None:
                continue
            gc = letter in "GC"
            before = following.get(new, (length, 0))
            following[new] = min(before[0], low + gc), max(before[1], high + gc)
        if not following:
            return True
        reached = following
    if min(low for low, _ in reached.values()) > most or max(high for _, high in reached.values()) < fewest:
        return True
    return any(_window_excluded(rows, width, low, high) for width, low, high in bounds)


def _window_excluded(rows: list[list[str]], width: int, low: int, high: int) -> bool:
    """Whether the letters allowed by position alone leave some window too few or too many G and C."""
    if low > high:
        return True
    least = [all(letter in "GC" for letter in letters) for letters in rows]
    most = [any(letter in "GC" for letter in letters) for letters in rows]
    starts = range(len(rows) - width + 1)
    return any(sum(least[i : i + width]) > high or sum(most[i : i + width]) < low for i in starts)
