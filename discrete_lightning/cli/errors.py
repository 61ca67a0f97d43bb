"""The one error of the command line."""

import difflib
from collections.abc import Callable, Iterable

MISUSE = 2  # the command line or a config cannot be understood
FAILURE = 1  # it was understood and could not be done
INTERRUPTED = 130  # 128 + SIGINT, as shells report Ctrl-C


class CliError(Exception):
    """Printed as `error: message`, without a traceback; the process exits with `code`.

    The message says what was requested, what was found, and what to do. `frames` are lines of the user's own code to show
    above it, `after` is a line below it.
    """

    def __init__(self, message: str, code: int = FAILURE, frames: str = "", after: str = "") -> None:
        super().__init__(message)
        self.code, self.frames, self.after = code, frames, after


def one_line(text: object) -> str:
    """`text` as a string with every run of white space, line breaks included, made one space."""
    return " ".join(str(text).split())


def did_you_mean(name: str, known: Iterable[str], most: int = 1, show: Callable[[str], str] = str) -> str:
    """`; did you mean a or b?` for names close to `name`, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=most, cutoff=0.5)
    return f"; did you mean {' or '.join(map(show, close))}?" if close else ""
