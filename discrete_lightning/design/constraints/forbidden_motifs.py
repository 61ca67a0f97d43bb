"""Motifs that must not occur, for example restriction sites, on one or both strands."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.design.alphabet import Alphabet
from discrete_lightning.design.constraints.base import Constraint, Pattern, cached_on_device
from discrete_lightning.design.constraints.enzymes import recognition_site


@dataclass(frozen=True)
class ForbiddenMotifs(Constraint):
    """None of the motifs occurs. penalty = expected number of occurrences, sum over places of prod_i p(motif_i).

    Args:
        motifs: such as ["GAATTC", "GGTCTC"], for nucleotides also with IUPAC codes ("GCNGC") and by the names of restriction
            enzymes ("BsaI"). The usual enzymes are built in; others need Biopython,
            pip install 'discrete-lightning[biopython]'.
        both_strands: also forbid the reverse complements. Alphabets without complements, such as proteins, have one strand.
        circular: whether the sequence is a circle, such as a plasmid: places over its origin count, too.

    Raises:
        ValueError: a motif is empty; or (in `validate`) a motif is neither of letters of the alphabet nor a known enzyme, or
            both strands are requested for an alphabet of nucleotides that has no complements.

    Example:
        >>> no_bsai = ForbiddenMotifs(["BsaI"])
        >>> no_bsai.check("AAGGTCTCAA"), no_bsai.check("AAGAGACCAA"), no_bsai.check("AAGAGCCCAA")
        (False, False, True)
    """

    motifs: tuple[str, ...]
    both_strands: bool = True
    circular: bool = False

    def __init__(self, motifs: list[str] | tuple[str, ...], both_strands: bool = True, circular: bool = False) -> None:
        if isinstance(motifs, str) or not motifs or not all(motifs):
            raise ValueError(f"ForbiddenMotifs needs a list of motifs of one letter or more, got {motifs!r}")
        object.__setattr__(self, "motifs", tuple(motifs))
        object.__setattr__(self, "both_strands", both_strands)
        object.__setattr__(self, "circular", circular)

    def validate(self, length: int, alphabet: Alphabet) -> None:
        if self.both_strands and alphabet.nucleotides and not alphabet.complements:
            raise ValueError(
                f"ForbiddenMotifs: both strands were requested, but the nucleotides {alphabet.letters!r} have no complements: "
                "give the Alphabet complements, or set both_strands to False"
            )
        list(self.patterns(alphabet))

    def patterns(self, alphabet: Alphabet) -> Iterator[Pattern]:
        found: dict[Pattern, None] = {}
        for motif in self.motifs:
            pattern = _pattern(motif, alphabet)
            found[pattern] = None
            if self.both_strands and alphabet.complements:
                paired = dict(zip(alphabet.letters, alphabet.complements, strict=True))
                found[tuple("".join(sorted(paired[x] for x in letters)) for letters in reversed(pattern))] = None
        yield from found

    def _fits(self, length: int, alphabet: Alphabet) -> Tensor:
        """Whether a letter matches each place of the patterns, bool (letters, places of all patterns one after another)."""
        places = [letters for pattern in self.patterns(alphabet) for letters in pattern]
        return torch.tensor([[letter in letters for letters in places] for letter in alphabet.letters])

    def penalty(self, probabilities: Tensor, alphabet: Alphabet) -> Tensor:
        length = probabilities.shape[-2]
        fits = probabilities @ cached_on_device(self._fits, 0, alphabet, probabilities.device).to(probabilities.dtype)
        fit = fits.unbind(-1)  # unbind, since the gradient of a slice has the size of the whole tensor
        total = probabilities.sum((-2, -1)) * 0
        first = 0
        for pattern in self.patterns(alphabet):
            width = len(pattern)
            places = (length if self.circular else length - width + 1) if width <= length else 0
            if places > 0:
                chance = fit[first][..., :places]
                for i in range(1, width):
                    there = fit[first + i]
                    chance = chance * (there.roll(-i, -1) if self.circular else there[..., i : i + places])
                total = total + chance.sum(-1)
            first += width
        return total


def _pattern(motif: str, alphabet: Alphabet) -> Pattern:
    """The letters that a motif, or the site of an enzyme, allows at each of its positions."""
    try:
        return tuple("".join(sorted(alphabet.choices(letter))) for letter in motif)
    except ValueError as error:
        no_motif = f"ForbiddenMotifs: motif {motif!r}: {error}"
    if not alphabet.nucleotides:
        raise ValueError(no_motif)
    try:
        site = recognition_site(motif)
    except ValueError as error:
        raise ValueError(no_motif if motif.isupper() else f"{no_motif}, and it names no enzyme: {error}") from None
    return _pattern(site.replace("T", "U") if "U" in alphabet.letters else site, alphabet)
