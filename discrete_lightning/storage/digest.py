"""A SHA-256 in the file that it is of: a checkpoint that is copied or renamed keeps it, and one write makes both.

`torch.save` writes a zip file, and a zip file may end with a comment, which every reader skips. The comment is

    discrete_lightning sha256 <64 hexadecimal digits>

and the digest is of the file as `torch.save` wrote it, without a comment: each byte counts, those between the records too.
"""

import hashlib
import zipfile
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch

_MARK = b"discrete_lightning sha256 "
_COMMENT = len(_MARK) + 64
_LENGTH = _COMMENT.to_bytes(2, "little")  # the last field before the comment
_END = b"PK\x05\x06"  # begins the last part of a zip file, 22 bytes without the comment
_END_SIZE = 22
_START = b"PK\x03\x04"
_CHUNK = 1 << 20


class DamagedError(ValueError):
    """A file that is not as it was written. The message says in what, without the file's name."""


def save_with_digest(content: Any, file: BinaryIO) -> None:
    """`torch.save(content, file)`, and the digest of what was written as the comment of the zip file.

    Args:
        content: what to save.
        file: empty; opened for writing, and able to seek.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.ckpt"
        >>> with path.open("wb") as file:
        ...     save_with_digest({"a": 1}, file)
        >>> zipfile.ZipFile(path).comment[:25], torch.load(path, weights_only=True)
        (b'discrete_lightning sha256', {'a': 1})
    """
    writer = _Hashing(file)
    torch.save(content, cast("IO[bytes]", writer))  # it asks for no more than `write` and `flush`
    file.seek(-len(_LENGTH), 2)
    file.write(_LENGTH + _MARK + writer.hash.hexdigest().encode())


def check_digest(path: Path) -> bool:
    """Whether the zip file has a digest; False for one that `torch.save` wrote alone, and for another kind of file.

    Raises:
        DamagedError: the digest is of another content, or the file does not end as it was written.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(len(_START))
        file.seek(max(0, size - _END_SIZE - _COMMENT))
        tail = file.read()
        plain = tail[-_END_SIZE:]
        if plain.startswith(_END) and plain.endswith(b"\0\0") and len(plain) == _END_SIZE:
            return False
        whole = tail.startswith(_END) and tail[20:22] == _LENGTH and tail[22:].startswith(_MARK)
        if not whole:
            if start == _START:
                raise DamagedError(f"is cut short: it has {size:,} bytes and no end")
            return False
        file.seek(0)
        found, left = hashlib.sha256(), size - _COMMENT - len(_LENGTH)
        while left and (chunk := file.read(min(_CHUNK, left))):
            found.update(chunk)
            left -= len(chunk)
    found.update(b"\0\0")
    if found.hexdigest().encode() != tail[22 + len(_MARK) :]:
        raise DamagedError(f"is damaged: {_place(path)} (SHA-256)")
    return True


def check_records(path: Path) -> None:
    """Raises DamagedError if a record of the zip file has not the checksum that the file states, or is none of `torch.save`.

    That packs nothing, so that reading a file needs no more memory than it has bytes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            packed = next(
                (each.filename for each in archive.infolist() if each.compress_type != zipfile.ZIP_STORED), None
            )
            size = sum(each.file_size for each in archive.infolist())
            record = archive.testzip() if packed is None and size <= path.stat().st_size else None
    except Exception as error:  # whatever zipfile meets in headers that make no sense
        raise DamagedError(f"is damaged ({error})") from None
    if packed is not None or size > path.stat().st_size:
        raise DamagedError(f"is none that torch.save wrote: its records are packed ({size:,} bytes)")
    if record is not None:
        raise DamagedError(f"is damaged: its record {record} does not have the checksum it was written with")


def _place(path: Path) -> str:
    try:
        check_records(path)
    except DamagedError as error:
        return str(error).removeprefix("is damaged").strip(": ()")
    return "its bytes are not those that were written"


class _Hashing:
    """What `torch.save` writes to: passes on to the file, and hashes."""

    def __init__(self, file: BinaryIO) -> None:
        self.hash, self._file = hashlib.sha256(), file

    def write(self, data: Any) -> int:
        self.hash.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()
