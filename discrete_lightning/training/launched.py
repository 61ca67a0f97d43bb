"""Errors of the processes that `ddp_spawn` and `ddp_fork` start, of which the starting process has the text alone."""

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
