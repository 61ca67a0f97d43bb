"""IDX, the file format of MNIST: 2 zero bytes, a type byte, the number of dimensions, the dimensions, the values.

Described at the foot of http://yann.lecun.com/exdb/mnist (archived): all integers are big-endian, values are row-major.
"""

import hashlib
import math
import struct
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from discrete_lightning.data.errors import DataError
from discrete_lightning.storage.gunzip import PackedError
from discrete_lightning.storage.gunzip import gunzip as unpacked

UINT8 = 0x08  # IDX's type byte; the others are wider integers and floats, which no image set here uses


def read_idx(path: str | PathLike[str], md5: str | None = None) -> Tensor:
    """Read an IDX file of unsigned bytes, gzipped or not (seen from its content, since browsers unzip without renaming).

    Args:
        path: the file.
        md5: the checksum that the unzipped content must have; None checks only the format. Gzip allows many files for
            one content, so that a checksum of the `.gz` would reject good copies.

    Returns:
        uint8, the shape that the header states: (N, 28, 28) for MNIST's images and (N,) for its labels.

    Raises:
        DataError: the file is missing or unreadable, damaged, no IDX file of unsigned bytes, empty, longer or shorter
            than its header states, or has another checksum.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "labels-idx1-ubyte")
        ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
        ...     read_idx(path)
        tensor([7, 2, 1], dtype=torch.uint8)
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _wrong(path, "a readable IDX file", error.strerror or str(error)) from error
    content = gunzip(content, path)
    if md5 is not None:
        check_md5(content, md5, path)
    return parse_idx(content, path)


def gunzip(content: bytes, origin: str | PathLike[str]) -> bytes:
    """Unzip `content` if it is gzipped, else return it as it is; `DataError` names `origin` if it is damaged."""
    try:
        return unpacked(content)
    except PackedError as error:
        raise _wrong(origin, "an intact gzip file", str(error)) from error


def check_md5(content: bytes, md5: str, origin: str | PathLike[str]) -> None:
    """Raise `DataError` unless the unzipped `content` has this checksum."""
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise _wrong(origin, f"content with md5 {md5}", f"{len(content):,} bytes with md5 {found}")


def parse_idx(content: bytes, origin: str | PathLike[str]) -> Tensor:
    """`read_idx` for the unzipped bytes; `origin` is what a `DataError` names."""
    if len(content) < 4 or content[:3] != bytes([0, 0, UINT8]) or content[3] == 0:
        start = content[:4].hex(" ") or "nothing"
        raise _wrong(origin, "an IDX file of unsigned bytes, which starts with 00 00 08 and 01 or more", start)
    dims = content[3]
    header = 4 + 4 * dims
    if len(content) < header:
        raise _wrong(origin, f"a header of {header} bytes for {dims} dimensions", f"{len(content)} bytes in all")
    shape = struct.unpack(f">{dims}I", content[4:header])
    if 0 in shape:
        raise _wrong(origin, "dimensions of 1 or more", f"the shape {shape}")
    size = header + math.prod(shape)
    if len(content) != size:
        raise _wrong(origin, f"{size:,} bytes (unzipped) for the shape {shape}", f"{len(content):,} bytes")
    # A bytearray, since a tensor over read-only bytes warns
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header).reshape(shape)


def _wrong(origin: str | PathLike[str], expected: str, found: str) -> DataError:
    return DataError(
        f"{origin}: expected {expected}, found: {found}.\n"
        "Delete the file and let it be downloaded again, or name another folder (--data.folder, or the environment "
        "variable DISCRETE_LIGHTNING_DATA)."
    )
