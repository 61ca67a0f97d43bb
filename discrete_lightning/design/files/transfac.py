"""Motifs in TRANSFAC's format (https://doi.org/10.1093/nar/gkj143): a line 'P0 A C G T', then one line for each position."""

from collections.abc import Sequence

import torch

from discrete_lightning.design.files.counts import Motif, as_counts

_LETTERS = "ACGT"


def transfac_motifs(lines: Sequence[str], name: str) -> list[Motif]:
    """The motifs of a file.

    Args:
        lines: of the file.
        name: of the file, for errors.

    Raises:
        ValueError: the columns are not A, C, G, T, or a row is not of four numbers; names the line.
    """
    motifs, names, order, rows = list[Motif](), list[str](), "", list[list[float]]()
    for number, line in enumerate([*lines, "//"], 1):
        words = line.split() or [""]
        if words[0] in ("P0", "PO"):
            order = "".join(words[1:]).upper()
            if sorted(order) != list(_LETTERS):
                raise ValueError(f"{name}, line {number}: the columns A, C, G, T were expected, got {line.strip()!r}")
        elif words[0] in ("AC", "ID", "NA"):
            names += words[1:2]
        elif order and words[0].isdigit():
            rows.append(_row(words, f"{name}, line {number}"))
        elif words[0] == "//":
            if rows:
                by_letter = torch.tensor(rows, dtype=torch.float64).T[[order.index(letter) for letter in _LETTERS]]
                motifs.append(Motif(tuple(names), as_counts(by_letter, f"{name}, matrix {' '.join(names)!r},")))
            names, order, rows = [], "", []
    if not motifs:
        raise ValueError(f"{name} holds no rows of counts below a line 'P0 A C G T'")
    return motifs


def _row(words: Sequence[str], where: str) -> list[float]:
    try:
        row = [float(word) for word in words[1:5]]
    except ValueError:
        row = []
    if len(row) != 4:
        raise ValueError(f"{where}: a position has 4 numbers, got {' '.join(words)[:60]!r}")
    return row
