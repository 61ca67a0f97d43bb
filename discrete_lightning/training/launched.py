"""Errors of processes that this one did not run itself: their text, or their exit code alone."""

import signal
from collections.abc import Sequence

from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from discrete_lightning.training.atomic_write import WriteError
from discrete_lightning.training.damage import CheckpointError


class LostProcess(RuntimeError):
    """A process that this one has started has ended before its time.

    Args:
        message: which one and why, one line.
        frames: lines of a traceback in the code of users, to show above it.
    """

    def __init__(self, message: str, frames: str = "") -> None:
        super().__init__(message)
        self.frames = frames


def error_of_child(error: BaseException) -> Exception | None:
    """The error that a child ended with: that of its checkpoint or a file, or a LostProcess; None for one of this process."""
    if isinstance(error, ProcessExitedException):
        return LostProcess(f"rank {error.error_index} (pid {error.error_pid}) {why_ended(error.exit_code)}")
    if not isinstance(error, ProcessRaisedException):
        return None
    lines = str(error).strip().splitlines()
    name, _, message = lines[-1].partition(": ")
    if name.endswith(f".{CheckpointError.__name__}"):
        return CheckpointError(message)
    if name.endswith(f".{WriteError.__name__}"):
        return WriteError(None, message)
    return LostProcess(f"rank {error.error_index}: {lines[-1]} (--traceback shows all of it)", _own_frames(lines[:-1]))


def _own_frames(lines: Sequence[str]) -> str:
    """The last lines of a traceback that are of no installed package."""
    starts = [i for i, line in enumerate(lines) if line.startswith('  File "')]
    installed = [i for i in starts if "site-packages" in lines[i]]
    after = [i for i in starts if not installed or i > installed[-1]]
    return "\n".join(lines[after[0] :]) if after else ""


def why_ended(exit_code: int | None) -> str:
    """How a process with this exit code ended, as the end of a sentence; negative codes are signals.

    Example:
        >>> why_ended(-11), why_ended(1)
        ('was ended by SIGSEGV', 'ended with exit code 1')
    """
    if exit_code is None:
        return "is gone"
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    hint = " (as the system does when memory runs out)" if exit_code == -signal.SIGKILL else ""
    return f"was ended by {signal.Signals(-exit_code).name}{hint}"
