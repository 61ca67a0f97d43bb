"""Alphabets of sequences and the pairs of complementary letters: DNA, RNA, protein or your own alphabet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from discrete_lightning.layers.constant_buffers import real_device

# https://doi.org/10.1093/nar/13.9.3021 (IUPAC nucleotide codes)
_NUCLEOTIDES = {
    "N": "ACGT", "R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT", "M": "AC",
    "B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG",
}  # fmt: skip
_STRANDS = (("ACGT", "TGCA"), ("ACGU", "UGCA"))  # letters of DNA and RNA, and their complements


@dataclass(frozen=True)
class Alphabet:
    """An ordered set of letters, in the order of an oracle's channels.

    Args:
        letters: two or more different letters.
        complements: the complement of each letter, in the same order; empty if there is no second strand. (The function
            `alphabet` sets the complements of the letters of DNA and RNA in any order.)

    Raises:
        ValueError: letters repeat, or `complements` does not pair the letters.

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
                f"complements {self.complements!r} do not pair {self.letters!r}: give each letter's complement, in order"
            )

    def __len__(self) -> int:
        return len(self.letters)

    @property
    def nucleotides(self) -> bool:
        """Whether the letters are those of DNA or RNA in any order, with or without N (unknown) and - (gap)."""
        return set(self.letters) - set("N-") in [set(letters) for letters, _ in _STRANDS]

    def spelled(self, sequence: str, name: str = "") -> str:
        """A sequence in the letters of the alphabet: small letters become capitals if the alphabet has only the capitals.

        Args:
            sequence: letters in any case, such as a soft-masked sequence.
            name: what the sequence is called in an error; the sequence itself if empty.

        Raises:
            ValueError: a letter is not in the alphabet; names the first one and its position.

        Example:
            >>> DNA.spelled("ACgtA")
            'ACGTA'
        """
        other_case = {ord(x): x.swapcase() for x in set(sequence) - set(self.letters) if x.swapcase() in self.letters}
        text = sequence.translate(other_case)
        for position, letter in enumerate(text):
            if letter not in self.letters:
                raise ValueError(
                    f"letter {letter!r} at position {position} (from 0) of {name or _short(sequence)} is not in the alphabet "
                    f"{self.letters!r}{self._cure(letter.upper())}"
                )
        return text

    def encode(self, sequence: str) -> Tensor:
        """Indices of the letters of a sequence, int64 (length,). Capital and small letters as in `spelled`.

        Raises:
            ValueError: a letter is not in the alphabet; names the first one.
        """
        indices = [self.letters.index(letter) for letter in self.spelled(sequence)]
        return torch.tensor(indices, dtype=torch.int64, device=real_device())

    def encode_all(self, sequences: Sequence[str]) -> Tensor:
        """Indices of sequences of equal length, int64 (N, length).

        Raises:
            ValueError: the lengths differ, or a letter is not in the alphabet.
        """
        lengths = {len(sequence) for sequence in sequences}
        if len(lengths) != 1:
            raise ValueError(f"sequences of one length are needed, got lengths {sorted(lengths)}")
        return torch.stack([self.encode(sequence) for sequence in sequences])

    def decode(self, tokens: Tensor) -> str:
        """The sequence of indices (length,)."""
        return "".join(self.letters[index] for index in tokens.tolist())

    def reverse_complement(self, sequence: str) -> str:
        """The reverse complement: the other strand, read in its own direction.

        Raises:
            ValueError: the alphabet has no complements, or a letter is not in it.
        """
        if not self.complements:
            raise ValueError(f"the alphabet {self.letters!r} has no complements, so no second strand")
        return self.spelled(sequence)[::-1].translate(str.maketrans(self.letters, self.complements))

    def choices(self, letter: str) -> str:
        """The letters that a letter of a pattern matches: itself, or those of an IUPAC code (N, R, Y ...) in DNA and RNA.

        Small letters mean the capitals if the alphabet has only these.

        Raises:
            ValueError: it is neither a letter of the alphabet nor an IUPAC code.
        """
        for form in (letter, letter.swapcase()):
            if form in self.letters:
                return form
        if self.nucleotides and letter.upper() in _NUCLEOTIDES:
            return _NUCLEOTIDES[letter.upper()].replace("T", "U" if "U" in self.letters else "T")
        raise ValueError(f"{letter!r} is neither a letter of {self.letters!r} nor an IUPAC code for some of them")

    def _cure(self, letter: str) -> str:
        """What to do about a letter that is not in the alphabet, to be added to an error; empty if unknown."""
        if self.nucleotides and letter in _NUCLEOTIDES:
            return f": it stands for any of {', '.join(self.choices(letter))}, so write one of them"
        if self.nucleotides and letter in "TU":
            instead, other = ("T", "RNA") if letter == "U" else ("U", "DNA")
            return f": write {instead} instead, or choose the alphabet {other}"
        return ": remove the gaps of the alignment" if letter in "-." else ""


def _short(sequence: str) -> str:
    return repr(sequence if len(sequence) <= 30 else f"{sequence[:27]}...")


DNA: Final = Alphabet("ACGT", "TGCA")
RNA: Final = Alphabet("ACGU", "UGCA")
PROTEIN: Final = Alphabet("ACDEFGHIKLMNPQRSTVWY")
_NAMED = {"DNA": DNA, "RNA": RNA, "PROTEIN": PROTEIN}


def alphabet(name: str | Alphabet) -> Alphabet:
    """The alphabet named "DNA", "RNA" or "protein", or an alphabet of the given letters, in their order.

    The four letters of DNA or RNA in another order still have complements.

    Raises:
        ValueError: `name` is a word in small letters that is not a known name, or its letters repeat.

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
            f"there is no alphabet called {name!r}; the names are DNA, RNA and protein. Give other alphabets by their letters, "
            f"in capitals or digits; in Python small letters work, too: Alphabet({name!r})"
        )
    for letters, complements in _STRANDS:
        if sorted(name) == sorted(letters):
            return Alphabet(name, name.translate(str.maketrans(letters, complements)))
    return Alphabet(name)
