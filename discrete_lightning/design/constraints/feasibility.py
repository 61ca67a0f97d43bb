"""Whether any sequence keeps a set of constraints, decided before the search.

From the cheapest to the dearest:

- bounds: letters by position, GC shares of all windows together, patterns and repeats among fixed letters, more places than
  words;
- few sequences (at most 65,536): every one is checked;
- a witness: a sequence that `repair` makes keep all rules, from the beginnings given and from random ones;
- the automaton of patterns, codons and total GC share: it proves that there is none, or gives a sequence to repair. Where it is
  small it comes before the witness.

There remain sets for which neither a witness nor a proof is found; they are refused, too, and the message says which it is.
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

_FEW = 65_536
_STARTS, _LETTERS = 8, 2_000  # random sequences to repair, at most, and their letters together
_QUICK, _LONG = 100_000, 5_000_000  # steps of the automaton before a witness is looked for, and after none was found
_ROUNDS, _PATIENCE = 50, 4  # rounds of repair between two looks, and looks without a gain before it is given up


class Unsatisfiable(ValueError):
    """No sequence keeps all the constraints, or none was found.

    Attributes:
        proved: whether it is certain that there is none.
    """

    def __init__(self, message: str, proved: bool) -> None:
        super().__init__(message)
        self.proved = proved


def check_satisfiable(
    constraints: Sequence[Constraint], length: int, alphabet: Alphabet, beginnings: Tensor | None = None
) -> Tensor:
    """A sequence that keeps all constraints. Deterministic; it leaves the default generator alone.

    Args:
        constraints: the rules.
        length: of the sequences.
        alphabet: of the sequences.
        beginnings: int64 (N, length), sequences to begin the search of one at, beside random ones.

    Returns:
        int64 (length,).

    Raises:
        Unsatisfiable: it is certain that there is none, or none was found; names constraints that cannot be kept together,
            none of which could be left out.
        ValueError: a constraint makes no sense for this length or alphabet.
        TypeError: something is no constraint.

    Example:
        >>> from discrete_lightning.design.alphabet import DNA
        >>> from discrete_lightning.design.constraints import FixedPositions, ForbiddenMotifs, GCContent
        >>> check_satisfiable([FixedPositions({0: "GAATTC"}), GCContent(0.2, 0.8), ForbiddenMotifs(["GAATTC"])], 20, DNA)
        Traceback (most recent call last):
        ...
        discrete_lightning.design.constraints.feasibility.Unsatisfiable: no sequence of length 20 keeps these together: ...
    """
    found, proved = find(constraints, length, alphabet, beginnings)
    if found is not None:
        return found
    steps = _QUICK if proved and _certain(ConstraintSet(constraints, length, alphabet), _QUICK) else _LONG
    guilty = list(constraints)
    for constraint in constraints:
        rest = [each for each in guilty if each is not constraint]
        # what is proved of all is not replaced by what is supposed of fewer
        if proved and _certain(ConstraintSet(rest, length, alphabet), steps):
            guilty = rest
        elif not proved:
            found, proved = find(rest, length, alphabet, beginnings)
            guilty = rest if found is None else guilty
    together = "; ".join(_short(constraint) for constraint in guilty)
    these = "these together" if len(guilty) > 1 else "this"
    if proved:
        raise Unsatisfiable(
            f"no sequence of length {length} keeps {these}: {together}. Loosen or remove one of them", proved
        )
    raise Unsatisfiable(
        f"no sequence of length {length} was found that keeps {these}: {together}. It is not proved that there is none: if you "
        "know one, begin there (FromSequences); else loosen or remove one of them",
        proved,
    )


def find(
    constraints: Sequence[Constraint], length: int, alphabet: Alphabet, beginnings: Tensor | None = None
) -> tuple[Tensor | None, bool]:
    """A sequence (length,) that keeps all constraints or None, and whether it is certain that there is none."""
    rules = ConstraintSet(constraints, length, alphabet)
    if _certain(rules, _QUICK):
        return None, True
    if _few(rules):
        return _enumerated(rules), False
    if (witness := _repaired(rules, _starts(rules, beginnings))) is not None:
        return witness, False
    path, certain = find_path(rules, _LONG)
    return (None, certain) if path is None else (_repaired(rules, path.unsqueeze(0)), False)


def _certain(rules: ConstraintSet, steps: int) -> bool:
    """Whether there is a proof that no sequence keeps the rules: a bound, all of few sequences, or the automaton's."""
    if excluded(rules):
        return True
    return _enumerated(rules) is None if _few(rules) else find_path(rules, steps)[1]


def _few(rules: ConstraintSet) -> bool:
    return float(rules.allowed.sum(-1).double().log2().sum()) <= math.log2(_FEW) + 1e-9


def _enumerated(rules: ConstraintSet) -> Tensor | None:
    """Checks every sequence: the mixed-radix digits of its number choose among the letters of each position."""
    counts = rules.allowed.sum(-1)
    for numbers in torch.arange(int(counts.prod())).split(1024):
        tokens = rules.allowed.int().argmax(-1).repeat(len(numbers), 1)
        for place in (counts > 1).nonzero().flatten().tolist():
            tokens[:, place] = rules.allowed[place].nonzero().flatten()[numbers % counts[place]]
            numbers = numbers // counts[place]
        if (kept := rules.satisfied(tokens)).any():
            return tokens[kept][0]
    return None


def _starts(rules: ConstraintSet, beginnings: Tensor | None) -> Tensor:
    """The beginnings, and random sequences of allowed letters, half of them with the GC shares that are asked for."""
    generator = torch.Generator().manual_seed(0)
    pattern = gc_pattern(rules)
    assert pattern is not None, "the bounds have excluded this"
    is_gc = torch.tensor([letter in "GC" for letter in rules.alphabet.letters])
    fits = rules.allowed & (is_gc == pattern.unsqueeze(1))
    fits = torch.where(fits.any(-1, keepdim=True), fits, rules.allowed)
    pairs = max(1, min(_STARTS, _LETTERS // rules.length) // 2)
    weights = torch.stack([rules.allowed, fits]).float().repeat(pairs, 1, 1).flatten(0, 1)
    drawn = torch.multinomial(weights, 1, generator=generator).view(2 * pairs, rules.length)
    return drawn if beginnings is None else torch.cat([beginnings[: 2 * pairs], drawn])


def _repaired(rules: ConstraintSet, tokens: Tensor) -> Tensor | None:
    """One of some sequences, made to keep all rules; None where repair comes no further."""
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
