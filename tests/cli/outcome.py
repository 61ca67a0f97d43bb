"""What a test sees of a command."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Outcome:
    """Exit code and output of one command."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The message, which has to be one line."""
        (line,) = self.err.splitlines()
        return line.removeprefix("error: ")


Cli = Callable[..., Outcome]


def only_run(pattern: str = "runs/toy/*") -> Path:
    """The folder of the one run there is."""
    (run,) = Path().glob(pattern)
    return run
