"""Positions that keep their letter."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from discrete_lightning.alphabet import Alphabet
from discrete_lightning.constraints.allowed_letters import AllowedLetters
from discrete_lightning.constraints.base import Constraint


@dataclass(frozen=True)
class FixedPositions(Constraint):
    """Letters that must stand at given positions: a primer, an active site, everything that must not be edited.

    Args:
        letters: position (from 0) -> the letters from there on: {0: "ATG", 17: "C"}.

    Raises:
        ValueError: (in `validate`) a position is out of range, or a letter is not in the alphabet.

    Example:
        >>> FixedPositions({0: "ATG"}).check("ATGC"), FixedPositions({0: "ATG"}).check("ACGC")
        (True, False)
    """

    letters: Mapping[int, str] = field(hash=False)

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
            alphabet.encode(text)
        seen: dict[int, str] = {}
        for start, text in self.letters.items():
            for position, letter in enumerate(text, start):
                if seen.setdefault(position, letter) != letter:
                    raise ValueError(
                        f"FixedPositions: position {position} is fixed to {seen[position]!r} and to {letter!r}"
                    )

    def allowed(self, length: int, alphabet: Alphabet) -> Tensor:
        return self._single().allowed(length, alphabet)

    def penalty(self, probabilities: Tensor, alphabet: Alphabet) -> Tensor:
        return self._single().penalty(probabilities, alphabet)


def keep(template: str, editable: list[tuple[int, int]]) -> FixedPositions:
    """Fixes a template everywhere but in the half-open ranges `editable`.

    Example:
        >>> keep("ACGTAC", [(2, 4)])
        FixedPositions(letters={0: 'AC', 4: 'AC'})
    """
    free = torch.zeros(len(template), dtype=torch.bool)
    for start, end in editable:
        free[start:end] = True
    fixed: dict[int, str] = {}
    began: int | None = None
    for position, is_free in enumerate([*free.tolist(), True]):
        if is_free and began is not None:
            fixed[began], began = template[began:position], None
        elif not is_free and began is None:
            began = position
    return FixedPositions(fixed)
