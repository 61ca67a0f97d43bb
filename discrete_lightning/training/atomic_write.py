"""Files that are whole at every moment: written beside their place, synced and renamed."""

import csv
import io
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO


class WriteError(OSError):
    """A file could not be written. Its message names the file, the reason, and says what is left of it."""

    def __str__(self) -> str:
        return str(self.strerror)


@contextmanager
def atomic_write(path: Path | str) -> Iterator[BinaryIO]:
    """A binary file to write, which takes the place of `path` at the end of the block; the folder is made if it is missing.

    Until then, and for good if the block fails, `path` is what it was before.

    Raises:
        WriteError: the disk is full, the folder cannot be written to, and whatever else the system refuses.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "codes.bin"
        >>> with atomic_write(path) as file:
        ...     _ = file.write(b"codes")
        ...     path.exists()
        False
        >>> path.read_bytes()
        b'codes'
    """
    path = Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")  # in this folder: a rename is whole on one file system only
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        # torch.save hides the error of the file behind one of its own
        reason = error.__context__ if isinstance(error, RuntimeError) else error
        if isinstance(reason, OSError) and not isinstance(error, WriteError):
            raise write_error(path, reason) from error
        raise


def write_text(path: Path | str, text: str) -> None:
    """Writes `text` as UTF-8 with `atomic_write`."""
    with atomic_write(path) as file:
        file.write(text.encode())


def write_table(path: Path | str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a CSV file with `atomic_write`: the names of the columns, and a line for each row."""
    with atomic_write(path) as file:
        file.write(csv_lines(columns, rows, header=True))


def csv_lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], header: bool = False) -> bytes:
    """The rows as lines of a CSV file, with the names of the columns before them if `header`."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def write_error(path: Path | str, reason: OSError) -> WriteError:
    """The error for a file that could not be written because of `reason`."""
    left = "; what it held before is unchanged" if Path(path).exists() else ""
    return WriteError(reason.errno, f"{path} could not be written: {reason.strerror or reason}{left}")


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # Windows, and some network file systems, cannot
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
