"""Limits on repeated words, which disturb synthesis and assembly."""

from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.design.alphabet import Alphabet
from discrete_lightning.design.circular import over_origin
from discrete_lightning.design.constraints.base import Constraint
from discrete_lightning.design.constraints.repeats import expected_repeats, word_hashes
from discrete_lightning.functional._arguments import check_at_least


@dataclass(frozen=True)
class MaxRepeat(Constraint):
    """No word longer than `longest` occurs at two places. penalty = expected number of pairs of places with the same word.

    With m(i, j) = sum_k p(i, k) p(j, k), the probability that two letters are equal, the penalty is the sum over pairs of
    places i < j of prod_t m(i + t, j + t), t = 0 ... longest. Memory is linear in the length L. Time is L log L for one-hot
    letters (samples of hard estimators) and L^2 for relaxed letters.

    Places may overlap: AAAA contains AAA twice. Only the given strand is compared: a word and its reverse complement, as in a
    hairpin, are not a repeat.

    Args:
        longest: the longest repeated word allowed, at least 1.
        circular: whether the sequence is a circle, such as a plasmid: words over its origin count, too.

    Raises:
        ValueError: `longest` is less than 1.

    Example:
        >>> MaxRepeat(3).check("ACGTTACGA"), MaxRepeat(2).check("ACGTTACGA")
        (True, False)
    """

    longest: int
    circular: bool = False

    def __post_init__(self) -> None:
        check_at_least(1, longest=self.longest)

    def longest_repeat(self) -> int:
        return self.longest

    def penalty(self, probabilities: Tensor, alphabet: Alphabet) -> Tensor:
        if self.circular and probabilities.shape[-2] > self.longest:
            probabilities = over_origin(probabilities, self.longest, -2)
        return expected_repeats(probabilities, self.longest + 1)

    def satisfied(self, tokens: Tensor, alphabet: Alphabet) -> Tensor:
        width = self.longest + 1
        if self.circular and tokens.shape[-1] > self.longest:
            tokens = over_origin(tokens, self.longest, -1)
        if tokens.shape[-1] <= width:
            return torch.ones(tokens.shape[:-1], dtype=torch.bool, device=tokens.device)
        hashed = word_hashes(tokens, width, len(alphabet)).sort(-1).values
        return (hashed[..., 1:] != hashed[..., :-1]).all(-1)
