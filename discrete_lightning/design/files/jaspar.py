"""Matrices of JASPAR (https://jaspar.elixir.no/docs), with lettered rows, and of PFM files, whose rows have no letters."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from discrete_lightning.design.files.counts import Motif, as_counts

_LETTERS = "ACGT"
_ROW = re.compile(r"(?P<letter>[A-Za-z]?)\s*[\[|:]?\s*(?P<numbers>[^\]|]*)\]?$")


def jaspar_motifs(lines: Sequence[str], name: str) -> list[Motif]:
    """The motifs of a file; each has a line '>identifier name', which a file of one may lack, and four rows.

    Rows without letters are those of A, C, G and T; five or more rows of four numbers are positions, as in HOCOMOCO and HOMER.

    Args:
        lines: of the file.
        name: of the file, for errors.

    Raises:
        ValueError: there is a row that is not one of a matrix, or a matrix is not complete; names the line.
    """
    found: list[tuple[str, dict[str, list[float]]]] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text.startswith(">"):
            found.append((text[1:], {}))
        elif text and not text.startswith("#"):
            if not found:
                found.append(("", {}))
            letter, numbers = _row(text, f"{name}, line {number}")
            rows = found[-1][1]
            key = letter or str(len(rows))  # rows without letters are those of A, C, G, T in this order
            if key in rows:
                raise ValueError(f"{name}, line {number}: a second row {key} of the matrix {found[-1][0]!r}")
            rows[key] = numbers
    return [Motif(tuple(title.split()), _counts(rows, name, title)) for title, rows in found or [("", {})]]


def read_jaspar(text: str, name: str = "the file") -> Tensor:
    r"""Counts (4, width), rows A, C, G, T, of the first matrix of a text in JASPAR's format.

    Raises:
        ValueError: the text holds something else.

    Example:
        >>> read_jaspar(">MA1 X\nA [1 2]\nC [3 4]\nG [5 6]\nT [7 8]").tolist()
        [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]
    """
    return jaspar_motifs(text.splitlines(), name)[0].counts


def _row(text: str, where: str) -> tuple[str, list[float]]:
    row = _ROW.match(text)
    letter = row["letter"].upper() if row else ""
    if row is None or letter not in _LETTERS or not (letter or row["numbers"][:1] in "0123456789.+-"):
        raise ValueError(
            f"{where}: {text[:40]!r} is not a row A, C, G or T of a matrix; JASPAR, PFM, MEME and TRANSFAC files are read"
        )
    try:
        return letter, [float(number) for number in row["numbers"].split()]
    except ValueError:
        raise ValueError(f"{where}: a row of a matrix holds something other than numbers: {text[:60]!r}") from None


def _counts(rows: dict[str, list[float]], name: str, title: str) -> Tensor:
    where = f"{name}, matrix {title!r}," if title else name
    widths = {len(row) for row in rows.values()}
    numbered = list(rows) == [str(i) for i in range(len(rows))]
    keys = list(rows) if numbered else list(_LETTERS)
    by_position = numbered and len(rows) > 4 and widths == {4}
    if set(rows) != set(keys) or len(widths) != 1 or 0 in widths or not (len(keys) == 4 or by_position):
        found = ", ".join(f"{letter}: {len(row)} numbers" for letter, row in rows.items()) or "none"
        raise ValueError(
            f"{where} is not a JASPAR or PFM matrix: rows A, C, G, T of equal length were expected, found {found[:100]}"
        )
    matrix = torch.tensor([rows[key] for key in keys], dtype=torch.float64)
    if numbered and (not _even(matrix.T) if by_position else _even(matrix.T) and not _even(matrix)):
        raise ValueError(
            f"{where} has rows without letters, and by their sums they are not those of A, C, G and T: write these letters "
            "before its rows"
        )
    return as_counts(matrix.T if by_position else matrix, where)


def _even(matrix: Tensor) -> bool:
    """Whether the columns have nearly the same sum, as the positions of a motif have."""
    sums = matrix.sum(0)
    return bool(sums.max() - sums.min() <= 0.02 * sums.max())
