"""Limits on runs of one letter."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.design.alphabet import Alphabet
from discrete_lightning.design.constraints.base import (
    Constraint,
    Pattern,
    run_products,
    tokens_to_letters,
)


@dataclass(frozen=True)
class MaxHomopolymer(Constraint):
    """No letter more than `longest` times in a row. penalty = expected number of longer runs (of `longest` + 1, overlapping).

    Args:
        longest: allowed length of a run, at least 1.
        letters: the letters concerned; all if None. For different limits use several constraints.

    Example:
        >>> MaxHomopolymer(2).check("AACC"), MaxHomopolymer(2).check("AAAC")
        (True, False)
    """

    longest: int
    letters: str | None = None

    def __post_init__(self) -> None:
        if self.longest < 1:
            raise ValueError(f"MaxHomopolymer: longest must be at least 1, got {self.longest}")

    def validate(self, length: int, alphabet: Alphabet) -> None:
        tokens_to_letters(self.letters or "", alphabet)

    def patterns(self, alphabet: Alphabet) -> Iterator[Pattern]:
        for letter in self.letters or alphabet.letters:
            yield (letter,) * (self.longest + 1)

    def penalty(self, probabilities: Tensor, alphabet: Alphabet) -> Tensor:
        if probabilities.shape[-2] <= self.longest:
            return probabilities.sum((-2, -1)) * 0
        runs = run_products(probabilities, self.longest + 1)
        return (runs * self.table(self._concerned, 0, alphabet, runs.device)).sum((-2, -1))

    def _concerned(self, length: int, alphabet: Alphabet) -> Tensor:
        return torch.tensor([letter in (self.letters or alphabet.letters) for letter in alphabet.letters])
