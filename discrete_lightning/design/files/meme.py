"""Motifs in MEME's text formats, minimal or full (https://meme-suite.org/meme/doc/meme-format.html)."""

import re
from collections.abc import Sequence

import torch

from discrete_lightning.design.files.counts import Motif

_SITES = 20.0  # what the format says to assume without nsites
_TOLERANCE = 0.02


def meme_motifs(lines: Sequence[str], name: str) -> list[Motif]:
    """The motifs of a file: probabilities times the number of sites.

    Args:
        lines: of the file.
        name: of the file, for errors.

    Raises:
        ValueError: the alphabet is not that of DNA, a matrix is cut short, or a row is not of four probabilities; names the
            line.
    """
    motifs, names = list[Motif](), tuple[str, ...]()
    for number, line in enumerate(lines, 1):
        words = line.split()
        if line.startswith("ALPHABET") and not re.match(r'ALPHABET\s*(=\s*ACGT\s*$|"DNA")', line):
            raise ValueError(f"{name}, line {number}: motifs of DNA (ALPHABET= ACGT) are read, got {line.strip()!r}")
        if words and words[0] == "MOTIF":
            names = tuple(words[1:3])
        elif line.startswith("letter-probability matrix"):
            sites, width = _setting(line, "nsites") or _SITES, int(_setting(line, "w"))
            end = number + width if width else _rest(lines, number)
            rows = [_row(lines, at, name) for at in range(number, end)]
            if not rows:
                raise ValueError(f"{name}, line {number}: there are no rows of probabilities below")
            matrix = torch.tensor(rows, dtype=torch.float64).T
            motifs.append(Motif(names, matrix / matrix.sum(0) * sites))
    if not motifs:
        raise ValueError(f"{name} holds no line 'letter-probability matrix:', as a motif in MEME's format has")
    return motifs


def _setting(line: str, key: str) -> float:
    found = re.search(rf"\b{key}=\s*([\d.e+]+)", line)
    return float(found[1]) if found else 0.0


def _rest(lines: Sequence[str], first: int) -> int:
    """The index of the line after the last row, where the file does not say the width."""
    return next((i for i in range(first, len(lines)) if not re.match(r"\s*[\d.]", lines[i])), len(lines))


def _row(lines: Sequence[str], at: int, name: str) -> list[float]:
    text = lines[at].strip() if at < len(lines) else "the end of the file"
    try:
        row = [float(word) for word in text.split()]
    except ValueError:
        row = []
    if len(row) != 4 or min(row) < 0 or not abs(sum(row) - 1) <= _TOLERANCE:
        raise ValueError(
            f"{name}, line {at + 1}: a row of a letter-probability matrix has 4 numbers with the sum 1, got {text[:60]!r}"
        )
    return row
