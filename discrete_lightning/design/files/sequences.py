"""FASTA (https://doi.org/10.1073/pnas.85.8.2444) and FASTQ (https://doi.org/10.1093/nar/gkp1137) files."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from discrete_lightning.design.files.text import read_lines

_SUFFIX = re.compile(r"\.[A-Za-z]\w*$")


@dataclass(frozen=True)
class Record:
    """One sequence of a file.

    Attributes:
        name: the first word after '>' or '@'.
        sequence: its letters in the case of the file, without blanks and without a '*' at the end.
        path: of the file.
    """

    name: str
    sequence: str
    path: Path

    def __str__(self) -> str:
        return f"record {self.name!r} of {self.path}"


def is_path(text: str | Path) -> bool:
    """Whether this names a file rather than being a sequence: it has a suffix or a separator of folders, or is a Path.

    Example:
        >>> is_path("genes.FASTA.gz"), is_path("data/genes"), is_path("ACGT")
        (True, True, False)
    """
    return isinstance(text, Path) or os.sep in text or bool(_SUFFIX.search(text))


def read_sequences(path: str | Path) -> list[Record]:
    """All sequences of a FASTA or FASTQ file with any suffix, packed by gzip or not.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is neither FASTA nor FASTQ, or a record has no sequence; names the line.
    """
    path = Path(path)
    lines = [(number, line.strip()) for number, line in enumerate(read_lines(path), 1)]
    lines = [(number, line) for number, line in lines if line]
    if lines and lines[0][1].startswith((">", ";")):
        lines = [(number, line) for number, line in lines if not line.startswith(";")]  # comments of old FASTA files
    if not lines:
        raise ValueError(f"{path} is empty: a FASTA file with a line '>name' and a sequence below it is needed")
    number, first = lines[0]
    if first[0] not in ">@":
        raise ValueError(
            f"{path}, line {number}: a FASTA file begins with a line '>name', and a FASTQ file with '@name', got {first[:40]!r}"
        )
    found = _fasta(lines) if first[0] == ">" else _fastq(lines, path)
    for number, header, sequence in found:
        if not sequence:
            raise ValueError(f"{path}, line {number}: there is no sequence below {header[:40]!r}")
    return [Record((header[1:].split() or ["(no name)"])[0], sequence, path) for _, header, sequence in found]


def _fasta(lines: list[tuple[int, str]]) -> list[tuple[int, str, str]]:
    """(line, header, sequence) of each record."""
    records: list[tuple[int, str, list[str]]] = []
    for number, line in lines:
        if line.startswith(">"):
            records.append((number, line, []))
        else:
            records[-1][2].append("".join(line.split()))
    return [(number, header, "".join(parts).removesuffix("*")) for number, header, parts in records]


def _fastq(lines: list[tuple[int, str]], path: Path) -> list[tuple[int, str, str]]:
    """(line, header, sequence) of each record; sequence and qualities may have several lines."""
    records, rest = list[tuple[int, str, str]](), iter(lines)
    for number, header in rest:
        if not header.startswith("@"):
            raise ValueError(f"{path}, line {number}: a record of FASTQ begins with '@', got {header[:40]!r}")
        sequence = qualities = ""
        for _, line in rest:
            if line.startswith("+"):
                break
            sequence += line
        while len(qualities) < len(sequence):
            if (following := next(rest, None)) is None:
                raise ValueError(
                    f"{path}, line {number}: the record {header[:40]!r} has {len(sequence)} letters and {len(qualities)} "
                    "qualities: the file is cut short"
                )
            qualities += following[1]
        records.append((number, header, sequence))
    return records
