"""Whether any sequence satisfies a set of constraints. This is decided before the search.

The steps, from the cheapest to the most expensive:

- bounds: allowed letters, the GC content of all windows together, patterns and repeats among fixed letters, the number of
  words;
- enumeration, if there are at most 65,536 sequences;
- repair: `repair` is applied to the given and to random sequences. One that then satisfies all rules proves satisfiability;
- the automaton of patterns, codons and total GC content. It proves that no sequence exists, or gives a sequence to repair. A
  small automaton is tried before the repair.

For some sets neither a sequence nor a proof is found. They are refused, too, and the message says so.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from discrete_lightning.design.alphabet import Alphabet
from discrete_lightning.design.constraints.automaton import find_path
from discrete_lightning.design.constraints.base import Constraint
from discrete_lightning.design.constraints.bounds import excluded, gc_pattern
from discrete_lightning.design.constraints.constraint_set import ConstraintSet
from discrete_lightning.design.constraints.repair import repair

_FEW = 65_536  # so many sequences are enumerated
_STARTS, _LETTERS = 8, 2_000  # the maximum number of random sequences to repair, and of letters in all of them
_QUICK, _LONG = 100_000, 5_000_000  # steps of the automaton before the repair, and after a repair that failed
_ROUNDS, _PATIENCE = 50, 4  # rounds of repair between two checks, and checks without progress before it stops


class Unsatisfiable(ValueError):
    """No sequence satisfies all constraints, or none was found.

    Attributes:
        proved: whether it is certain that no such sequence exists.
    """

    def __init__(self, message: str, proved: bool) -> None:
        super().__init__(message)
        self.proved = proved


def check_satisfiable(
    constraints: Sequence[Constraint], length: int, alphabet: Alphabet, candidates: Tensor | None = None
) -> Tensor:
    """A sequence that satisfies all constraints. Deterministic; the default generator is not used.

    Args:
        constraints: the rules.
        length: of the sequences.
        alphabet: of the sequences.
        candidates: int64 (N, length), sequences to check and repair before random ones.

    Returns:
        int64 (length,).

    Raises:
        Unsatisfiable: no such sequence exists, or none was found. The message names a smallest set of constraints that cannot
            be satisfied together.
        ValueError: a constraint cannot be applied to this length or alphabet.
        TypeError: an entry of the list is not a Constraint.

    Example:
        >>> from discrete_lightning.design.alphabet import DNA
        >>> from discrete_lightning.design.constraints import FixedPositions, ForbiddenMotifs, GCContent
        >>> check_satisfiable([FixedPositions({0: "GAATTC"}), GCContent(0.2, 0.8), ForbiddenMotifs(["GAATTC"])], 20, DNA)
        Traceback (most recent call last):
        ...
        discrete_lightning.design.constraints.feasibility.Unsatisfiable: no sequence of length 20 satisfies these together: ...
    """
    found, proved = find(constraints, length, alphabet, candidates)
    if found is not None:
        return found
    steps = _QUICK if proved and _certain(ConstraintSet(constraints, length, alphabet), _QUICK) else _LONG
    conflicting = list(constraints)
    for constraint in constraints:
        rest = [each for each in conflicting if each is not constraint]
        # a proof for all constraints is not replaced by a failed search for fewer of them
        if proved and _certain(ConstraintSet(rest, length, alphabet), steps):
            conflicting = rest
        elif not proved:
            found, proved = find(rest, length, alphabet, candidates)
            conflicting = rest if found is None else conflicting
    together = "; ".join(_short(constraint) for constraint in conflicting)
    these = "these together" if len(conflicting) > 1 else "this"
    if proved:
        raise Unsatisfiable(
            f"no sequence of length {length} satisfies {these}: {together}. Loosen or remove one of them", proved
        )
    raise Unsatisfiable(
        f"no sequence of length {length} was found that satisfies {these}: {together}. It is not proved that none exists: "
        "if you know one, start from it (FromSequences); otherwise loosen or remove a constraint",
        proved,
    )


def find(
    constraints: Sequence[Constraint], length: int, alphabet: Alphabet, candidates: Tensor | None = None
) -> tuple[Tensor | None, bool]:
    """A sequence (length,) that satisfies all constraints, or None; and whether it is certain that none exists."""
    rules = ConstraintSet(constraints, length, alphabet)
    if _certain(rules, _QUICK):
        return None, True
    if _few(rules):
        return _enumerated(rules), False
    if (repaired := _repaired(rules, _starts(rules, candidates))) is not None:
        return repaired, False
    path, certain = find_path(rules, _LONG)
    return (None, certain) if path is None else (_repaired(rules, path.unsqueeze(0)), False)


def _certain(rules: ConstraintSet, steps: int) -> bool:
    """Whether it is proved that no sequence satisfies the rules: by bounds, enumeration or the automaton."""
    if excluded(rules):
        return True
    return _enumerated(rules) is None if _few(rules) else find_path(rules, steps)[1]


def _few(rules: ConstraintSet) -> bool:
    return float(rules.allowed.sum(-1).double().log2().sum()) <= math.log2(_FEW) + 1e-9


def _enumerated(rules: ConstraintSet) -> Tensor | None:
    """Checks all sequences. The mixed-radix digits of a sequence's number select the allowed letter of each position."""
    counts = rules.allowed.sum(-1)
    for numbers in torch.arange(int(counts.prod())).split(1024):
        tokens = rules.allowed.int().argmax(-1).repeat(len(numbers), 1)
        for place in (counts > 1).nonzero().flatten().tolist():
            tokens[:, place] = rules.allowed[place].nonzero().flatten()[numbers % counts[place]]
            numbers = numbers // counts[place]
        if (kept := rules.satisfied(tokens)).any():
            return tokens[kept][0]
    return None


def _starts(rules: ConstraintSet, candidates: Tensor | None) -> Tensor:
    """The candidates and random sequences of allowed letters; half of the random ones have the GC content that is required."""
    generator = torch.Generator().manual_seed(0)
    pattern = gc_pattern(rules)
    assert pattern is not None, "excluded() has refused this"
    is_gc = torch.tensor([letter in "GC" for letter in rules.alphabet.letters])
    fits = rules.allowed & (is_gc == pattern.unsqueeze(1))
    fits = torch.where(fits.any(-1, keepdim=True), fits, rules.allowed)
    pairs = max(1, min(_STARTS, _LETTERS // rules.length) // 2)
    weights = torch.stack([rules.allowed, fits]).float().repeat(pairs, 1, 1).flatten(0, 1)
    drawn = torch.multinomial(weights, 1, generator=generator).view(2 * pairs, rules.length)
    return drawn if candidates is None else torch.cat([candidates[: 2 * pairs], drawn])


def _repaired(rules: ConstraintSet, tokens: Tensor) -> Tensor | None:
    """A repaired sequence that satisfies all rules; None if the repair makes no more progress."""
    generator = torch.Generator().manual_seed(1)
    best, failures = torch.inf, 0
    while failures < _PATIENCE:
        tokens, kept = repair(rules, tokens, generator, _ROUNDS, enough=1)
        if kept.any():
            return tokens[kept][0]
        now = float(rules.penalty(rules.one_hot(tokens)).min())
        best, failures = (now, 0) if now < best - 1e-6 else (best, failures + 1)
    return None


def _short(constraint: Constraint) -> str:
    text = str(constraint)
    return text if len(text) <= 200 else f"{text[:150]} ... {text[-47:]}"
