"""Readers of sequence and motif files."""

from discrete_lightning.design.files.sequences import Record, is_path, read_sequences
from discrete_lightning.design.files.text import read_lines

__all__ = ["Record", "is_path", "read_lines", "read_sequences"]
