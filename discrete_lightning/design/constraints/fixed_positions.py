"""Letters fixed at given positions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from discrete_lightning.design.alphabet import Alphabet
from discrete_lightning.design.constraints.allowed_letters import AllowedLetters
from discrete_lightning.design.constraints.base import Constraint


@dataclass(frozen=True)
class FixedPositions(Constraint):
    """Letters that are required at given positions: a primer, an active site, a part that must not be edited.

    Args:
        letters: position (from 0) -> the letters that start there: {0: "ATG", 17: "C"}.

    Raises:
        ValueError: (in `validate`) a position is out of range, or a letter is not in the alphabet.

    Example:
        >>> FixedPositions({0: "ATG"}).check("ATGC"), FixedPositions({0: "ATG"}).check("ACGC")
        (True, False)
    """

    letters: Mapping[int, str] = field(hash=False)

    @cached_property
    def _single(self) -> AllowedLetters:
        single = {start + i: letter for start, text in self.letters.items() for i, letter in enumerate(text)}
        return AllowedLetters(single)

    def validate(self, length: int, alphabet: Alphabet) -> None:
        for start, text in self.letters.items():
            if start < 0 or start + len(text) > length:
                raise ValueError(
                    f"FixedPositions: {text!r} at position {start} is out of range of sequences of length {length} "
                    f"(positions 0 to {length - 1})"
                )
        seen: dict[int, str] = {}
        for start, text in self.letters.items():
            for position, letter in enumerate(alphabet.spelled(text), start):
                if seen.setdefault(position, letter) != letter:
                    raise ValueError(
                        f"FixedPositions: position {position} is fixed to {seen[position]!r} and to {letter!r}"
                    )

    def allowed(self, length: int, alphabet: Alphabet) -> Tensor:
        return self._single.allowed(length, alphabet)

    def penalty(self, probabilities: Tensor, alphabet: Alphabet) -> Tensor:
        return self._single.penalty(probabilities, alphabet)

    def satisfied(self, tokens: Tensor, alphabet: Alphabet) -> Tensor:
        return self._single.satisfied(tokens, alphabet)


def fix_all_but(template: str, editable: Sequence[Sequence[int]]) -> FixedPositions:
    """Fixes the letters of a template at all positions outside the half-open ranges `editable`.

    Raises:
        ValueError: a range is empty or does not lie in the template.

    Example:
        >>> fix_all_but("ACGTAC", [(2, 4)])
        FixedPositions(letters={0: 'AC', 4: 'AC'})
    """
    free = [False] * len(template)
    for bounds in editable:
        if len(bounds) != 2 or not 0 <= bounds[0] < bounds[1] <= len(template):
            raise ValueError(
                f"editable: {list(bounds)} is not a range of positions of a sequence of {len(template)} letters; a range is "
                f"[first, end] with 0 <= first < end <= {len(template)}, and the position `end` is not part of it"
            )
        free[bounds[0] : bounds[1]] = [True] * (bounds[1] - bounds[0])
    fixed: dict[int, str] = {}
    start: int | None = None
    for position, is_free in enumerate([*free, True]):
        if is_free and start is not None:
            fixed[start], start = template[start:position], None
        elif not is_free and start is None:
            start = position
    return FixedPositions(fixed)
