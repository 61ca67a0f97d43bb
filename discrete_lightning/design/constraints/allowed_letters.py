"""Letters allowed at given positions."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from discrete_lightning.design.alphabet import Alphabet
from discrete_lightning.design.constraints.base import Constraint, cached_on_device


@dataclass(frozen=True)
class AllowedLetters(Constraint):
    """The letters allowed at given positions; all letters are allowed elsewhere. penalty = sum of forbidden probabilities.

    Args:
        letters: position (from 0) -> the letters allowed there, for nucleotides also IUPAC codes: {3: "AG", 4: "N"}.

    Raises:
        ValueError: (in `validate`) a position is out of range, or no letter is allowed at a position.

    Example:
        >>> AllowedLetters({1: "R"}).check("CAT"), AllowedLetters({1: "R"}).check("CCT")
        (True, False)
    """

    letters: Mapping[int, str] = field(hash=False)

    def validate(self, length: int, alphabet: Alphabet) -> None:
        for position, letters in self.letters.items():
            if not 0 <= position < length:
                raise ValueError(
                    f"AllowedLetters: position {position} is out of range of sequences of length {length} "
                    f"(positions 0 to {length - 1})"
                )
            if not letters:
                raise ValueError(f"AllowedLetters: no letter is allowed at position {position}")
            for letter in letters:
                alphabet.choices(letter)

    def allowed(self, length: int, alphabet: Alphabet) -> Tensor:
        rows = [[True] * len(alphabet)] * length
        for position, letters in self.letters.items():
            choices = {choice for letter in letters for choice in alphabet.choices(letter)}
            rows[position] = [letter in choices for letter in alphabet.letters]
        return torch.tensor(rows)

    def _forbidden(self, length: int, alphabet: Alphabet) -> Tensor:
        return ~self.allowed(length, alphabet)

    def penalty(self, probabilities: Tensor, alphabet: Alphabet) -> Tensor:
        forbidden = cached_on_device(self._forbidden, probabilities.shape[-2], alphabet, probabilities.device)
        return (probabilities * forbidden).sum((-2, -1))

    def satisfied(self, tokens: Tensor, alphabet: Alphabet) -> Tensor:
        forbidden = cached_on_device(self._forbidden, tokens.shape[-1], alphabet, tokens.device)
        return ~forbidden[torch.arange(tokens.shape[-1], device=tokens.device), tokens].any(-1)
