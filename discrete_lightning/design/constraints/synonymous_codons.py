"""Edits that do not change the protein: every codon is one of its amino acid."""

from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

from discrete_lightning.design.alphabet import DNA, Alphabet
from discrete_lightning.design.circular import over_origin
from discrete_lightning.design.constraints.base import Constraint, cached_on_device, windows_of
from discrete_lightning.design.constraints.genetic_code import genetic_code, translate

_RECODED = {"U": "TGA", "O": "TAG"}  # selenocysteine and pyrrolysine are written by stop codons


@dataclass(frozen=True)
class SynonymousCodons(Constraint):
    """The sequence encodes `protein` in the region [start, end). penalty = sum over codons of 1 - p(an allowed codon).

    Codons are read from `start` on; on the reverse strand from the last letter of the region backwards. The first codon is
    one like the others: keep a start codon other than ATG by FixedPositions.

    Args:
        protein: amino acids, `*` for a stop, `X` for any codon, `U` and `O` for selenocysteine (TGA) and pyrrolysine (TAG).
            None: the protein that the template of Edit encodes in the region, to its first stop codon or, if it has none, to
            the last complete codon.
        start: the first position of the region, from 0 on.
        end: the position after the region; None: the end of the sequence, in a circle the whole circle from `start` on.
        strand: 1, or -1 if the gene lies on the reverse strand. Positions are those of the sequence as it is given.
        table: the genetic code, by the number of NCBI's translation table. 1 (standard), 2, 3, 4, 5, 6, 11 and 12 are built in;
            others need Biopython, pip install 'discrete-lightning[biopython]'.
        circular: whether the sequence is a circle, such as a plasmid: a region with end <= start lies over its origin.

    Raises:
        ValueError: an amino acid, the strand or the genetic code is unknown; or (in `validate`) the codons do not fit into the
            region, or there is neither a protein nor a template.

    Example:
        >>> SynonymousCodons("MS").check("ATGTCA"), SynonymousCodons("MS").check("ATGTGA")
        (True, False)
        >>> SynonymousCodons("MS", strand=-1).check(DNA.reverse_complement("ATGTCA"))
        True
    """

    protein: str | None = None
    start: int = 0
    end: int | None = None
    strand: int = 1
    table: int = 1
    circular: bool = False

    def __post_init__(self) -> None:
        genetic_code(self.table)
        if self.strand not in (1, -1):
            raise ValueError(f"SynonymousCodons: strand is 1 or -1 (the reverse strand), got {self.strand!r}")
        if self.protein is None:
            return
        object.__setattr__(self, "protein", "".join(self.protein.split()).upper())
        unknown = [letter for letter in self.protein if not self._codons_of(letter)]
        if unknown or not self.protein:
            raise ValueError(
                f"SynonymousCodons: {unknown[0]!r} is not an amino acid of the genetic code {self.table}"
                if unknown
                else "SynonymousCodons: protein is empty"
            )

    def bind_template(self, template: str | None) -> "SynonymousCodons":
        if self.protein is not None or template is None:
            return self
        first, count = self._region(len(template))
        if count < 3:
            raise ValueError(
                f"SynonymousCodons: there is no codon at position {first} of a sequence of {len(template)} letters"
            )
        coding = (template + template)[first : first + count]
        if self.strand == -1:
            coding = DNA.reverse_complement(coding.upper().replace("U", "T"))
        protein, stop, _ = translate(coding[: count // 3 * 3], self.table).partition("*")
        return replace(self, protein=protein + stop)

    def validate(self, length: int, alphabet: Alphabet) -> None:
        if self.protein is None:
            raise ValueError(
                "SynonymousCodons: no protein was given, and there is no template to read it from: give one, or start from Edit"
            )
        if set(alphabet.letters) not in (set("ACGT"), set("ACGU")):
            raise ValueError(f"SynonymousCodons: codons are of DNA or RNA, and the alphabet is {alphabet.letters!r}")
        first, count = self._region(length)
        if 3 * len(self.protein) > count:
            raise ValueError(
                f"SynonymousCodons: {len(self.protein)} codons from position {first} need {3 * len(self.protein)} letters, and "
                f"there are {count} of the {length} letters of a sequence"
            )

    def codons(self, length: int) -> tuple[int, list[frozenset[str]]]:
        """The first position of the gene, and the codons allowed at each third letter, as the given strand spells them."""
        assert self.protein is not None, "validate() refuses this"
        allowed = [self._codons_of(letter) for letter in self.protein]
        first, count = self._region(length)
        if self.strand == -1:
            first += count - 3 * len(allowed)
            allowed = [frozenset(map(DNA.reverse_complement, codons)) for codons in reversed(allowed)]
        return first % length, allowed

    def _region(self, length: int) -> tuple[int, int]:
        """The first position of the region, and its number of letters."""
        end = (self.start if self.circular else length) if self.end is None else self.end
        fits = 0 <= self.start < length and 0 <= end <= length and (self.circular or self.start < end)
        if not fits:
            circle = "" if self.circular else "; with circular=True it may lie over the origin"
            raise ValueError(
                f"SynonymousCodons: start={self.start}, end={end} is not a region of a sequence of {length} letters{circle}"
            )
        return self.start, (end - self.start - 1) % length + 1

    def _codons_of(self, letter: str) -> frozenset[str]:
        code = genetic_code(self.table)
        known = {codon for codon, amino in code.items() if letter in (amino, "X")}
        return frozenset(known or {_RECODED[letter]} if letter in _RECODED else known)

    def _gene(self, values: Tensor, dim: int) -> Tensor:
        """The part of `values` that lies at the letters of the gene."""
        length = values.shape[dim]
        first, codons = self.codons(length)
        over = first + 3 * len(codons) - length
        return (over_origin(values, over, dim) if over > 0 else values).narrow(dim, first, 3 * len(codons))

    def allowed(self, length: int, alphabet: Alphabet) -> Tensor:
        names = alphabet.letters.replace("U", "T")
        rows = [[True] * len(alphabet)] * length
        first, allowed = self.codons(length)
        for i, codons in enumerate(allowed):
            for j in range(3):
                there = {codon[j] for codon in codons}
                rows[(first + 3 * i + j) % length] = [letter in there for letter in names]
        return torch.tensor(rows)

    def _allowed_codons(self, length: int, alphabet: Alphabet) -> Tensor:
        """Whether a codon is allowed, bool (codons, 4, 4, 4)."""
        names = alphabet.letters.replace("U", "T")
        triplets = ["".join(triplet) for triplet in product(names, repeat=3)]
        rows = [[triplet in codons for triplet in triplets] for codons in self.codons(length)[1]]
        return torch.tensor(rows).view(-1, 4, 4, 4)

    def penalty(self, probabilities: Tensor, alphabet: Alphabet) -> Tensor:
        length = probabilities.shape[-2]
        table = cached_on_device(self._allowed_codons, length, alphabet, probabilities.device).to(probabilities.dtype)
        first, second, third = windows_of(self._gene(probabilities, -2), 3)[..., ::3, :, :].unbind(-2)
        allowed = torch.einsum("...na,...nb,...nc,nabc->...n", first, second, third, table)
        return (1 - allowed).sum(-1)

    def satisfied(self, tokens: Tensor, alphabet: Alphabet) -> Tensor:
        table = cached_on_device(self._allowed_codons, tokens.shape[-1], alphabet, tokens.device)
        codons = self._gene(tokens, -1).unflatten(-1, (-1, 3))
        there = torch.arange(len(table), device=tokens.device)
        return table[(there, *codons.unbind(-1))].all(-1)
