"""Readers of sequence and motif files."""

from discrete_lightning.design.files.counts import Motif
from discrete_lightning.design.files.jaspar import read_jaspar
from discrete_lightning.design.files.motifs import read_motif, read_motifs
from discrete_lightning.design.files.sequences import Record, is_path, read_sequences
from discrete_lightning.design.files.text import read_lines

__all__ = [
    "Motif",
    "Record",
    "is_path",
    "read_jaspar",
    "read_lines",
    "read_motif",
    "read_motifs",
    "read_sequences",
]
