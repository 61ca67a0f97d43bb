"""Genetic codes, by the numbers of NCBI's translation tables (https://www.ncbi.nlm.nih.gov/Taxonomy/Utils/wprintgc.cgi).

The usual ones are built in; the others come from Biopython (https://doi.org/10.1093/bioinformatics/btp163).
"""

from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from itertools import product
from typing import Final

_AMINO_ACIDS: Final = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
_CODONS: Final = ["".join(codon) for codon in product("TCAG", repeat=3)]
_STANDARD: Final = dict(zip(_CODONS, _AMINO_ACIDS, strict=True))
_CHANGES: Final[dict[int, dict[str, str]]] = {  # what differs from the standard code
    1: {},
    2: {"TGA": "W", "ATA": "M", "AGA": "*", "AGG": "*"},  # mitochondria of vertebrates
    3: {"TGA": "W", "CTT": "T", "CTC": "T", "CTA": "T", "CTG": "T", "ATA": "M"},  # mitochondria of yeasts
    4: {"TGA": "W"},  # Mycoplasma, mitochondria of moulds
    5: {"TGA": "W", "ATA": "M", "AGA": "S", "AGG": "S"},  # mitochondria of invertebrates
    6: {"TAA": "Q", "TAG": "Q"},  # ciliates
    11: {},  # bacteria, plastids
    12: {"CTG": "S"},  # Candida
}


@lru_cache
def genetic_code(table: int = 1) -> Mapping[str, str]:
    """Codon of DNA -> amino acid, `*` for a stop.

    Raises:
        ValueError: there is no such table, or it is not built in and Biopython is not installed.

    Example:
        >>> genetic_code()["TGA"], genetic_code(4)["TGA"]
        ('*', 'W')
    """
    if table in _CHANGES:
        return _STANDARD | _CHANGES[table]
    try:
        tables = import_module("Bio.Data.CodonTable").unambiguous_dna_by_id
    except ImportError:
        raise ValueError(
            f"the genetic code {table!r} is not built in, those of NCBI's tables {', '.join(map(str, _CHANGES))} are; for the "
            "others: pip install 'discrete-lightning[biopython]'"
        ) from None
    if table not in tables:
        raise ValueError(f"NCBI has no genetic code {table!r}; it has {', '.join(map(str, sorted(tables)))}")
    known = tables[table].forward_table
    return {codon: known.get(codon, "*") for codon in _CODONS}


def translate(sequence: str, table: int = 1) -> str:
    """The protein of a coding sequence of DNA or RNA, `*` for a stop.

    Args:
        sequence: codons, in capital or small letters.
        table: the genetic code, by the number of NCBI's table; 1 is the standard code.

    Raises:
        ValueError: the length is not a multiple of three, a codon is unknown, or there is no such genetic code.

    Example:
        >>> translate("ATGTCTTAA")
        'MS*'
    """
    dna = sequence.upper().replace("U", "T")
    if len(dna) % 3:
        raise ValueError(
            f"a codon has three letters, so the length must be a multiple of three; got {len(dna)} letters"
        )
    code = genetic_code(table)
    codons = [dna[i : i + 3] for i in range(0, len(dna), 3)]
    unknown = [codon for codon in codons if codon not in code]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not a codon of A, C, G, T or U")
    return "".join(code[codon] for codon in codons)
