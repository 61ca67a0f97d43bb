"""Gzip files from anywhere: what they unpack to has a bound, since a few megabytes can hold gigabytes of zeros."""

import gzip
import io
import zlib

MAGIC = b"\x1f\x8b"
LEAST = 1 << 28  # bytes that any file may unpack to
RATIO = 100  # times its size: texts and pictures are 2 to 20 times smaller when packed


class PackedError(ValueError):
    """A packed file that cannot be unpacked. The message says why, without the file's name."""


def bound(packed: int) -> int:
    """The most bytes that a file of so many may unpack to."""
    return max(LEAST, RATIO * packed)


def gunzip(data: bytes) -> bytes:
    """What a gzip file holds; other data as they are.

    Raises:
        PackedError: it is damaged, cut short, or unpacks to more than 256 MiB and 100 times its size.

    Example:
        >>> gunzip(gzip.compress(b"ACGT")), gunzip(b"ACGT")
        (b'ACGT', b'ACGT')
    """
    if not data.startswith(MAGIC):
        return data
    most = bound(len(data))
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            content = file.read(most + 1)
    except (EOFError, OSError, zlib.error) as error:  # cut short; wrong check sum or trailing bytes; broken stream
        raise PackedError(f"{len(data):,} bytes that do not unzip ({error})") from None
    if len(content) > most:
        raise PackedError(
            f"{len(data):,} bytes that unpack to more than {most:,}: unpack it yourself if it is meant so"
        )
    return content
