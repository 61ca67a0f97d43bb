"""Edits that do not change the protein: every codon is one of its amino acid (the standard genetic code)."""

from dataclasses import dataclass
from itertools import product
from typing import Final

import torch
from torch import Tensor

from discrete_lightning.design.alphabet import Alphabet
from discrete_lightning.design.constraints.base import Constraint, cached_on_device, windows_of

# NCBI translation table 1, codons in the order TTT, TTC, TTA, TTG, TCT ...
_AMINO_ACIDS: Final = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
_ORDER: Final = "TCAG"
_CODE: Final = {_ORDER[i // 16] + _ORDER[i // 4 % 4] + _ORDER[i % 4]: amino for i, amino in enumerate(_AMINO_ACIDS)}


def translate(sequence: str) -> str:
    """The protein of a coding sequence of DNA or RNA, `*` for a stop.

    Raises:
        ValueError: the length is not a multiple of three, or a codon is unknown.

    Example:
        >>> translate("ATGTCTTAA")
        'MS*'
    """
    dna = sequence.upper().replace("U", "T")
    if len(dna) % 3:
        raise ValueError(
            f"a codon has three letters, so the length must be a multiple of three; got {len(dna)} letters"
        )
    codons = [dna[i : i + 3] for i in range(0, len(dna), 3)]
    unknown = [codon for codon in codons if codon not in _CODE]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not a codon of A, C, G, T or U")
    return "".join(_CODE[codon] for codon in codons)


@dataclass(frozen=True)
class SynonymousCodons(Constraint):
    """The sequence encodes `protein` from position `start` on. penalty = sum over codons of 1 - p(an allowed codon).

    Args:
        protein: amino acids, `*` for a stop, `X` for any codon. None: the protein that the template of Edit encodes from
            `start` to its first stop codon or, if it has none, to its last complete codon.
        start: the position of the first letter of the first codon.

    Raises:
        ValueError: an amino acid is unknown; or (in `validate`) the codons do not fit into the sequence, or there is neither a
            protein nor a template.

    Example:
        >>> SynonymousCodons("MS").check("ATGTCA"), SynonymousCodons("MS").check("ATGTGA")
        (True, False)
    """

    protein: str | None = None
    start: int = 0

    def __post_init__(self) -> None:
        if self.protein is None:
            return
        unknown = [letter for letter in self.protein if letter not in _AMINO_ACIDS + "X"]
        if unknown or not self.protein:
            raise ValueError(
                f"SynonymousCodons: {unknown[0]!r} is not an amino acid" if unknown else "protein is empty"
            )

    def bind_template(self, template: str | None) -> "SynonymousCodons":
        if self.protein is not None or template is None:
            return self
        if not 0 <= self.start <= len(template) - 3:
            raise ValueError(
                f"SynonymousCodons: there is no codon at position {self.start} of a sequence of {len(template)} letters"
            )
        coding = template[self.start :]
        protein, stop, _ = translate(coding[: len(coding) // 3 * 3]).partition("*")
        return SynonymousCodons(protein + stop, self.start)

    def validate(self, length: int, alphabet: Alphabet) -> None:
        if self.protein is None:
            raise ValueError(
                "SynonymousCodons: no protein was given, and there is no template to read it from: give one, or start from Edit"
            )
        if set(alphabet.letters) not in (set("ACGT"), set("ACGU")):
            raise ValueError(f"SynonymousCodons: codons are of DNA or RNA, and the alphabet is {alphabet.letters!r}")
        if self.start < 0 or self.start + 3 * len(self.protein) > length:
            raise ValueError(
                f"SynonymousCodons: {len(self.protein)} codons from position {self.start} need "
                f"{self.start + 3 * len(self.protein)} letters, and sequences have {length}"
            )

    def codons(self) -> tuple[int, list[frozenset[str]]]:
        assert self.protein is not None, "validate() refuses this"
        synonymous = {amino: frozenset(c for c, a in _CODE.items() if amino in (a, "X")) for amino in self.protein}
        return self.start, [synonymous[amino] for amino in self.protein]

    def allowed(self, length: int, alphabet: Alphabet) -> Tensor:
        names = alphabet.letters.replace("U", "T")
        rows = [[True] * len(alphabet)] * length
        for i, codons in enumerate(self.codons()[1]):
            for j in range(3):
                there = {codon[j] for codon in codons}
                rows[self.start + 3 * i + j] = [letter in there for letter in names]
        return torch.tensor(rows)

    def _allowed_codons(self, length: int, alphabet: Alphabet) -> Tensor:
        """Whether a codon is allowed, bool (codons, 4, 4, 4)."""
        names = alphabet.letters.replace("U", "T")
        triplets = ["".join(triplet) for triplet in product(names, repeat=3)]
        rows = [[triplet in codons for triplet in triplets] for codons in self.codons()[1]]
        return torch.tensor(rows).view(-1, 4, 4, 4)

    def penalty(self, probabilities: Tensor, alphabet: Alphabet) -> Tensor:
        table = cached_on_device(self._allowed_codons, 0, alphabet, probabilities.device).to(probabilities.dtype)
        coding = probabilities[..., self.start : self.start + 3 * len(table), :]
        first, second, third = windows_of(coding, 3)[..., ::3, :, :].unbind(-2)
        allowed = torch.einsum("...na,...nb,...nc,nabc->...n", first, second, third, table)
        return (1 - allowed).sum(-1)

    def satisfied(self, tokens: Tensor, alphabet: Alphabet) -> Tensor:
        table = cached_on_device(self._allowed_codons, 0, alphabet, tokens.device)
        codons = tokens[..., self.start : self.start + 3 * len(table)].unflatten(-1, (-1, 3))
        there = torch.arange(len(table), device=tokens.device)
        return table[(there, *codons.unbind(-1))].all(-1)
