"""Edits that keep the protein: every codon stays among those of its amino acid (the standard genetic code)."""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from discrete_lightning.alphabet import Alphabet
from discrete_lightning.constraints.base import Constraint, windows_of

# NCBI translation table 1, codons in the order TTT, TTC, TTA, TTG, TCT ...
_AMINO_ACIDS: Final = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
_ORDER: Final = "TCAG"
_CODE: Final = {_ORDER[i // 16] + _ORDER[i // 4 % 4] + _ORDER[i % 4]: amino for i, amino in enumerate(_AMINO_ACIDS)}


def translate(sequence: str) -> str:
    """The protein of a coding sequence of DNA or RNA, `*` for a stop.

    Raises:
        ValueError: if the length is no multiple of three, or a codon is unknown.

    Example:
        >>> translate("ATGTCTTAA")
        'MS*'
    """
    dna = sequence.upper().replace("U", "T")
    if len(dna) % 3:
        raise ValueError(f"a coding sequence has three letters a codon, got {len(dna)} letters")
    codons = [dna[i : i + 3] for i in range(0, len(dna), 3)]
    unknown = [codon for codon in codons if codon not in _CODE]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no codon of A, C, G, T or U")
    return "".join(_CODE[codon] for codon in codons)


@dataclass(frozen=True)
class SynonymousCodons(Constraint):
    """From `start` on, the sequence encodes `protein`. penalty = sum over codons of 1 - p(an allowed codon).

    Args:
        protein: amino acids, `*` for a stop, `X` for any codon; `translate(template)` for synonymous edits of a template.
        start: position of the first codon's first letter.

    Raises:
        ValueError: an amino acid is unknown, or (in `validate`) the codons do not fit.

    Example:
        >>> SynonymousCodons("MS").check("ATGTCA"), SynonymousCodons("MS").check("ATGTGA")
        (True, False)
    """

    protein: str
    start: int = 0

    def __post_init__(self) -> None:
        unknown = [letter for letter in self.protein if letter not in _AMINO_ACIDS + "X"]
        if unknown or not self.protein:
            raise ValueError(f"SynonymousCodons: {unknown[0]!r} is no amino acid" if unknown else "protein is empty")

    def validate(self, length: int, alphabet: Alphabet) -> None:
        if set(alphabet.letters) not in (set("ACGT"), set("ACGU")):
            raise ValueError(f"SynonymousCodons: codons are of DNA or RNA, not of {alphabet.letters!r}")
        if self.start < 0 or self.start + 3 * len(self.protein) > length:
            raise ValueError(
                f"SynonymousCodons: {len(self.protein)} codons from position {self.start} need "
                f"{self.start + 3 * len(self.protein)} letters, and sequences have {length}"
            )

    def codons(self) -> tuple[int, list[frozenset[str]]]:
        synonymous = {amino: frozenset(c for c, a in _CODE.items() if amino in (a, "X")) for amino in self.protein}
        return self.start, [synonymous[amino] for amino in self.protein]

    def allowed(self, length: int, alphabet: Alphabet) -> Tensor:
        mask = torch.ones(length, len(alphabet), dtype=torch.bool)
        names = alphabet.letters.replace("U", "T")
        for i, codons in enumerate(self.codons()[1]):
            for j in range(3):
                there = {codon[j] for codon in codons}
                mask[self.start + 3 * i + j] = torch.tensor([letter in there for letter in names])
        return mask

    def penalty(self, probabilities: Tensor, alphabet: Alphabet) -> Tensor:
        names = alphabet.letters.replace("U", "T")
        count = len(self.protein)
        table = torch.zeros(count, 4, 4, 4, dtype=probabilities.dtype, device=probabilities.device)
        for i, codons in enumerate(self.codons()[1]):
            for codon in codons:
                table[(i, *(names.index(letter) for letter in codon))] = 1
        coding = probabilities[..., self.start : self.start + 3 * count, :]
        triplets = windows_of(coding, 3)[..., ::3, :, :]
        first, second, third = triplets.unbind(-2)
        allowed = torch.einsum("...na,...nb,...nc,nabc->...n", first, second, third, table)
        return (1 - allowed).sum(-1)
