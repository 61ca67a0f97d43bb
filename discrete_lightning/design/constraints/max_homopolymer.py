"""Limits on runs of one letter."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.design.alphabet import Alphabet
from discrete_lightning.design.circular import over_origin
from discrete_lightning.design.constraints.base import (
    Constraint,
    Pattern,
    cached_on_device,
    run_products,
)
from discrete_lightning.functional._arguments import check_at_least


@dataclass(frozen=True)
class MaxHomopolymer(Constraint):
    """No letter occurs more than `longest` times in a row. penalty = expected number of (overlapping) runs of `longest` + 1.

    Args:
        longest: the longest run allowed, at least 1.
        letters: the letters that are limited; all if None. For different limits use several constraints.
        circular: whether the sequence is a circle, such as a plasmid: runs over its origin count, too.

    Example:
        >>> MaxHomopolymer(2).check("AACC"), MaxHomopolymer(2).check("AAAC")
        (True, False)
    """

    longest: int
    letters: str | None = None
    circular: bool = False

    def __post_init__(self) -> None:
        check_at_least(1, longest=self.longest)

    def validate(self, length: int, alphabet: Alphabet) -> None:
        self._letters(alphabet)

    def _letters(self, alphabet: Alphabet) -> str:
        return alphabet.spelled(self.letters or alphabet.letters)

    def patterns(self, alphabet: Alphabet) -> Iterator[Pattern]:
        for letter in self._letters(alphabet):
            yield (letter,) * (self.longest + 1)

    def penalty(self, probabilities: Tensor, alphabet: Alphabet) -> Tensor:
        if probabilities.shape[-2] <= self.longest:
            return probabilities.sum((-2, -1)) * 0
        if self.circular:
            probabilities = over_origin(probabilities, self.longest, -2)
        runs = run_products(probabilities, self.longest + 1)
        return (runs * cached_on_device(self._limited, 0, alphabet, runs.device)).sum((-2, -1))

    def _limited(self, length: int, alphabet: Alphabet) -> Tensor:
        return torch.tensor([letter in self._letters(alphabet) for letter in alphabet.letters])
