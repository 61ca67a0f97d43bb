"""The fault of one process's environment ends all processes at the same place, so that none waits for one that is gone."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from discrete_lightning.control.vector.base import EnvironmentFault
from discrete_lightning.distributed import all_gather_rows, all_reduce_sum


@contextmanager
def failing_together(device: torch.device | str = "cpu") -> Iterator[None]:
    """A block in which environments take their steps; every process must come to its end equally often.

    Where a process alone raised its fault, the others would wait for it in their next reduction, and the one that saves the
    weights might never hear of it. One number is reduced for each block.

    Args:
        device: of the numbers that are reduced: that of the model.

    Raises:
        EnvironmentFault: an environment of any process failed in the block; the same message in all processes.

    Example:
        >>> with failing_together():
        ...     raise EnvironmentFault("environment 3 of 8: the ball is lost")
        Traceback (most recent call last):
        discrete_lightning.control.vector.base.EnvironmentFault: environment 3 of 8: the ball is lost
    """
    fault: EnvironmentFault | None = None
    try:
        yield
    except EnvironmentFault as error:
        fault = error
    if not bool(all_reduce_sum(torch.tensor(float(fault is not None), device=device)) > 0):
        return
    own = list(f"{fault}\n".encode()) if fault is not None else []
    messages = bytes(all_gather_rows(torch.tensor(own, dtype=torch.uint8, device=device)).tolist()).decode()
    raise EnvironmentFault("; ".join(messages.splitlines())) from fault
