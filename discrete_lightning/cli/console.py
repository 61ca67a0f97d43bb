"""Standard output and errors that may go away: a pipe that its reader closed, a disk that is full."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class Console:
    """A text stream that takes everything once its output can no longer be written: a run goes on without its reader.

    Args:
        stream: to write to.

    Attributes:
        error: why it cannot be written; None while it can.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Writes the text, or nothing."""
        if self.error is None:
            try:
                return self._stream.write(text)
            except OSError as error:
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Writes what is buffered."""
        if self.error is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.error = error
        with suppress(
            OSError, ValueError
        ):  # a stream without a file; Python itself writes what is buffered when it ends
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self._stream.fileno())
            os.close(nothing)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def consoles() -> Iterator[Console]:
    """Makes standard output and errors Consoles within the block; yields that of the output."""
    output, errors = sys.stdout, sys.stderr
    console = Console(output)
    sys.stdout, sys.stderr = console, Console(errors)
    try:
        yield console
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = output, errors
