"""Letters of sequences and what they pair with: DNA, RNA, protein or an alphabet of one's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

# https://doi.org/10.1093/nar/13.9.3021 (IUPAC nucleotide codes)
_NUCLEOTIDES = {
    "N": "ACGT", "R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT", "M": "AC",
    "B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG",
}  # fmt: skip
_STRANDS = (("ACGT", "TGCA"), ("ACGU", "UGCA"))  # letters of DNA and RNA, and what they pair with


@dataclass(frozen=True)
class Alphabet:
    """An ordered set of letters; the order is that of an oracle's channels.

    Args:
        letters: two or more different letters.
        complements: the letter that pairs with each, in the same order; empty where there is no second strand (`alphabet`
            pairs the letters of DNA and RNA, whatever their order).

    Raises:
        ValueError: if letters repeat, or `complements` is no pairing.

    Example:
        >>> DNA.decode(DNA.encode("GATTACA"))
        'GATTACA'
        >>> DNA.reverse_complement("GATTACA")
        'TGTAATC'
    """

    letters: str
    complements: str = ""

    def __post_init__(self) -> None:
        if len(set(self.letters)) != len(self.letters) or len(self.letters) < 2:
            raise ValueError(f"an alphabet needs two or more different letters, got {self.letters!r}")
        paired = dict(zip(self.letters, self.complements, strict=False))
        if self.complements and (
            sorted(self.complements) != sorted(self.letters) or any(paired[paired[x]] != x for x in self.letters)
        ):
            raise ValueError(
                f"complements {self.complements!r} are no pairing of {self.letters!r}: give each letter's partner, in order"
            )

    def __len__(self) -> int:
        return len(self.letters)

    @property
    def nucleotides(self) -> bool:
        """Whether the letters are those of DNA or RNA in any order, with or without N (unknown) and - (gap)."""
        return set(self.letters) - set("N-") in [set(letters) for letters, _ in _STRANDS]

    def encode(self, sequence: str) -> Tensor:
        """Indices of the letters of a sequence, int64 (length,).

        Raises:
            ValueError: names the first letter that is not in the alphabet.
        """
        for position, letter in enumerate(sequence):
            if letter not in self.letters:
                hint = "; write it in capitals" if letter.upper() in self.letters else ""
                raise ValueError(
                    f"letter {letter!r} at position {position} of {_short(sequence)} is not in the alphabet "
                    f"{self.letters!r}{hint}"
                )
        return torch.tensor([self.letters.index(letter) for letter in sequence], dtype=torch.int64)

    def encode_all(self, sequences: Sequence[str]) -> Tensor:
        """Indices of sequences of equal length, int64 (N, length).

        Raises:
            ValueError: if lengths differ, or a letter is not in the alphabet.
        """
        lengths = {len(sequence) for sequence in sequences}
        if len(lengths) != 1:
            raise ValueError(f"sequences of one length are needed, got lengths {sorted(lengths)}")
        return torch.stack([self.encode(sequence) for sequence in sequences])

    def decode(self, tokens: Tensor) -> str:
        """The sequence of indices (length,)."""
        return "".join(self.letters[index] for index in tokens.tolist())

    def reverse_complement(self, sequence: str) -> str:
        """The other strand, read in its own direction.

        Raises:
            ValueError: if the alphabet has no second strand.
        """
        if not self.complements:
            raise ValueError(f"the alphabet {self.letters!r} has no complements, so no second strand")
        paired = dict(zip(self.letters, self.complements, strict=True))
        return "".join(paired[letter] for letter in reversed(sequence))

    def choices(self, letter: str) -> str:
        """The letters that a letter of a pattern stands for: itself, or those of an IUPAC code (N, R, Y ...) in DNA and RNA.

        Raises:
            ValueError: if it stands for none.
        """
        if letter in self.letters:
            return letter
        if self.nucleotides and letter in _NUCLEOTIDES:
            return _NUCLEOTIDES[letter].replace("T", "U" if "U" in self.letters else "T")
        raise ValueError(f"{letter!r} is neither a letter of {self.letters!r} nor a code for some of them")


def _short(sequence: str) -> str:
    return repr(sequence if len(sequence) <= 30 else f"{sequence[:27]}...")


DNA: Final = Alphabet("ACGT", "TGCA")
RNA: Final = Alphabet("ACGU", "UGCA")
PROTEIN: Final = Alphabet("ACDEFGHIKLMNPQRSTVWY")
_NAMED = {"DNA": DNA, "RNA": RNA, "PROTEIN": PROTEIN}


def alphabet(name: str | Alphabet) -> Alphabet:
    """The alphabet called "DNA", "RNA" or "protein", or one of the letters given, in their order.

    The four letters of DNA or RNA in another order are DNA or RNA still: they have complements.

    Raises:
        ValueError: a word in small letters that is no known name, or letters that make no alphabet.

    Example:
        >>> alphabet("rna").letters, alphabet("01").letters
        ('ACGU', '01')
        >>> alphabet("AGCT").reverse_complement("GAGT")
        'ACTC'
    """
    if isinstance(name, Alphabet):
        return name
    if name.upper() in _NAMED:
        return _NAMED[name.upper()]
    if name.isalpha() and name[1:].islower():
        raise ValueError(
            f"there is no alphabet called {name!r}; these are DNA, RNA and protein. An alphabet of one's own is given by its "
            f"letters, in capitals or digits; in Python also in small letters: Alphabet({name!r})"
        )
    for letters, complements in _STRANDS:
        if sorted(name) == sorted(letters):
            return Alphabet(name, name.translate(str.maketrans(letters, complements)))
    return Alphabet(name)
