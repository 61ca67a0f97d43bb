"""Errors of processes that this one did not run itself: their text, or their exit code alone."""

import signal

from torch.multiprocessing.spawn import ProcessRaisedException

from discrete_lightning.training.atomic_write import WriteError
from discrete_lightning.training.damage import CheckpointError


def error_of_child(error: Exception) -> Exception | None:
    """The error of the run itself that a child ended with: its checkpoint or a file; None for every other one."""
    if not isinstance(error, ProcessRaisedException):
        return None
    name, _, message = str(error).strip().splitlines()[-1].partition(": ")
    if name.endswith(f".{CheckpointError.__name__}"):
        return CheckpointError(message)
    return WriteError(None, message) if name.endswith(f".{WriteError.__name__}") else None


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
