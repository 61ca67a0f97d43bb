"""Motif files in the formats of JASPAR, MEME and TRANSFAC."""

import warnings
from pathlib import Path

from discrete_lightning.design.files.counts import Motif
from discrete_lightning.design.files.jaspar import jaspar_motifs
from discrete_lightning.design.files.meme import meme_motifs
from discrete_lightning.design.files.text import read_lines
from discrete_lightning.design.files.transfac import transfac_motifs


def read_motifs(path: str | Path) -> list[Motif]:
    """All motifs of a file, packed by gzip or not, in JASPAR's, PFM, MEME's or TRANSFAC's format.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is in another format, damaged, or holds neither counts nor probabilities; names the line.
    """
    lines = read_lines(path)
    if any(line.startswith("MEME version") for line in lines):
        return meme_motifs(lines, str(path))
    if any(line.split()[:1] in (["P0"], ["PO"]) for line in lines):
        return transfac_motifs(lines, str(path))
    return jaspar_motifs(lines, str(path))


def read_motif(path: str | Path, name: str | None = None) -> Motif:
    """One motif of a file: that of the given identifier or name, or else the first, with a warning if there are several.

    Raises:
        OSError: the file cannot be read.
        ValueError: as of `read_motifs`; or not exactly one motif has this name.
    """
    motifs = read_motifs(path)
    names = ", ".join(" ".join(motif.names) or "(no name)" for motif in motifs[:5]) + (
        ", ..." if len(motifs) > 5 else ""
    )
    if name is None:
        if len(motifs) > 1:
            warnings.warn(
                f"{path} holds {len(motifs)} motifs ({names}), and the first is used: choose by name=", stacklevel=3
            )
        return motifs[0]
    found = [motif for motif in motifs if name in motif.names]
    if len(found) != 1:
        raise ValueError(f"{path}: {len(found)} of its {len(motifs)} motifs are called {name!r}; they are {names}")
    return found[0]
