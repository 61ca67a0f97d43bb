"""Each constraint as one would check it by hand, on strings of DNA; of RNA after U -> T; of other letters without codes."""

import re
from collections.abc import Callable

from discrete_lightning.design.constraints import (
    AllowedLetters,
    Constraint,
    FixedPositions,
    ForbiddenMotifs,
    GCContent,
    MaxHomopolymer,
    MaxRepeat,
    SynonymousCodons,
)

CODES = {
    "A": "A", "C": "C", "G": "G", "T": "T", "R": "[AG]", "Y": "[CT]", "S": "[CG]", "W": "[AT]", "K": "[GT]", "M": "[AC]",
    "B": "[CGT]", "D": "[AGT]", "H": "[ACT]", "V": "[ACG]", "N": "[ACGT]",
}  # fmt: skip
CODONS = {
    "M": "ATG", "W": "TGG", "K": "AA[AG]", "S": "TC.|AG[TC]", "L": "CT.|TT[AG]", "R": "CG.|AG[AG]", "*": "TA[AG]|TGA",
    "X": "...", "G": "GG.", "I": "AT[ACT]",
}  # fmt: skip


def _reverse(sequence: str) -> str:
    return sequence.translate(str.maketrans("ACGT", "TGCA"))[::-1]


def _line(rule: Constraint, s: str, width: int) -> str:
    """A string whose windows of `width` letters are those of the sequence, over the origin of a circle, too."""
    return s + s[: width - 1] if rule.circular and width <= len(s) else s  # type: ignore[attr-defined]


def _allowed(rule: AllowedLetters, s: str) -> bool:
    return all(any(re.fullmatch(CODES[code], s[i]) for code in codes) for i, codes in rule.letters.items())


def _motifs(rule: ForbiddenMotifs, s: str) -> bool:
    strands = [s, _reverse(s)] if rule.both_strands else [s]
    return not any(
        re.search("".join(CODES[x] for x in motif), _line(rule, strand, len(motif)))
        for motif in rule.motifs
        for strand in strands
    )


def _gc(rule: GCContent, s: str) -> bool:
    width = rule.window or len(s)
    s = _line(rule, s, width)
    shares = [sum(x in "GC" for x in s[i : i + width]) / width for i in range(len(s) - width + 1)]
    return all(rule.low - 1e-9 <= share <= rule.high + 1e-9 for share in shares)


def _repeat(rule: MaxRepeat, s: str) -> bool:
    s = _line(rule, s, rule.longest + 1)
    words = [s[i : i + rule.longest + 1] for i in range(len(s) - rule.longest)]
    return len(words) == len(set(words))


def _codons(rule: SynonymousCodons, s: str) -> bool:
    end = rule.end if rule.end is not None else rule.start + len(s) if rule.circular else len(s)
    gene = (s + s)[rule.start : end if end > rule.start else end + len(s)]
    gene = _reverse(gene) if rule.strand == -1 else gene
    return all(re.fullmatch(CODONS[a], gene[3 * i :][:3]) for i, a in enumerate(rule.protein))


def _runs(rule: MaxHomopolymer, s: str) -> bool:
    return not any(x * (rule.longest + 1) in _line(rule, s, rule.longest + 1) for x in rule.letters or "ACGT")


_CHECKS: dict[type, Callable[..., bool]] = {
    FixedPositions: lambda rule, s: all(s.startswith(text, start) for start, text in rule.letters.items()),
    AllowedLetters: _allowed,
    ForbiddenMotifs: _motifs,
    GCContent: _gc,
    MaxHomopolymer: _runs,
    MaxRepeat: _repeat,
    SynonymousCodons: _codons,
}


def keeps(rule: Constraint, sequence: str) -> bool:
    """For DNA."""
    return _CHECKS[type(rule)](rule, sequence)


def as_dna(rule: Constraint) -> Constraint:
    """A rule for RNA with its letters U written T."""
    if isinstance(rule, FixedPositions):
        return FixedPositions({at: text.replace("U", "T") for at, text in rule.letters.items()})
    if isinstance(rule, AllowedLetters):
        return AllowedLetters({at: codes.replace("U", "T") for at, codes in rule.letters.items()})
    if isinstance(rule, ForbiddenMotifs):
        return ForbiddenMotifs([motif.replace("U", "T") for motif in rule.motifs], rule.both_strands)
    if isinstance(rule, MaxHomopolymer) and rule.letters:
        return MaxHomopolymer(rule.longest, rule.letters.replace("U", "T"))
    return rule


def keeps_plain(rule: Constraint, sequence: str) -> bool:
    """For letters that stand for themselves alone and have no second strand."""
    if isinstance(rule, AllowedLetters):
        return all(sequence[at] in letters for at, letters in rule.letters.items())
    if isinstance(rule, ForbiddenMotifs):
        return not any(motif in sequence for motif in rule.motifs)
    if isinstance(rule, MaxHomopolymer):
        return not any(letter * (rule.longest + 1) in sequence for letter in rule.letters or set(sequence))
    return keeps(rule, sequence)
