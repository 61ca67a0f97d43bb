"""Motifs that must not occur: restriction sites, on both strands."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from discrete_lightning.alphabet import Alphabet
from discrete_lightning.constraints.base import Constraint, Pattern


@dataclass(frozen=True)
class ForbiddenMotifs(Constraint):
    """None of the motifs occurs. penalty = expected number of occurrences, sum over places of prod_i p(motif_i).

    Args:
        motifs: such as ["GAATTC", "GGTCTC"], IUPAC codes included for nucleotides ("GCNGC").
        both_strands: also forbid their reverse complements, where the alphabet has them.

    Raises:
        ValueError: a motif is empty, or (in `validate`) holds letters that the alphabet does not have.

    Example:
        >>> no_bsai = ForbiddenMotifs(["GGTCTC"])
        >>> no_bsai.check("AAGGTCTCAA"), no_bsai.check("AAGAGACCAA"), no_bsai.check("AAGAGCCCAA")
        (False, False, True)
    """

    motifs: tuple[str, ...]
    both_strands: bool = True

    def __init__(self, motifs: list[str] | tuple[str, ...], both_strands: bool = True) -> None:
        if isinstance(motifs, str) or not motifs or not all(motifs):
            raise ValueError(f"ForbiddenMotifs needs a list of motifs of one letter or more, got {motifs!r}")
        object.__setattr__(self, "motifs", tuple(motifs))
        object.__setattr__(self, "both_strands", both_strands)

    def validate(self, length: int, alphabet: Alphabet) -> None:
        list(self.patterns(alphabet))

    def patterns(self, alphabet: Alphabet) -> Iterator[Pattern]:
        found: dict[Pattern, None] = {}
        for motif in self.motifs:
            pattern = tuple("".join(sorted(alphabet.choices(letter))) for letter in motif)
            found[pattern] = None
            if self.both_strands and alphabet.complements:
                paired = dict(zip(alphabet.letters, alphabet.complements, strict=True))
                found[tuple("".join(sorted(paired[x] for x in letters)) for letters in reversed(pattern))] = None
        yield from found

    @cached_property
    def _masks(self) -> dict[Alphabet, list[Tensor]]:
        return {}

    def penalty(self, probabilities: Tensor, alphabet: Alphabet) -> Tensor:
        if alphabet not in self._masks:
            self._masks[alphabet] = [
                torch.tensor([[letter in letters for letter in alphabet.letters] for letters in pattern])
                for pattern in self.patterns(alphabet)
            ]
        total = probabilities.sum((-2, -1)) * 0
        for mask in self._masks[alphabet]:
            if len(mask) <= probabilities.shape[-2]:
                fits = probabilities @ mask.to(probabilities).T  # of each letter to each place of the motif
                places = probabilities.shape[-2] - len(mask) + 1
                chance = fits[..., :places, 0]
                for i in range(1, len(mask)):
                    chance = chance * fits[..., i : i + places, i]
                total = total + chance.sum(-1)
        return total
