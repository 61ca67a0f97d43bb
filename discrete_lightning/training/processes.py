"""Other processes of this machine: where one is, when it ends, and how it ended, where the system tells."""

import os
import select
import socket
from contextlib import suppress
from pathlib import Path


def machine() -> str:
    """The name of this machine and the space of its process numbers: processes with the same one see each other."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    return f"{socket.gethostname()}/{space}"


class Ends:
    """Waits until one of some processes ends. Linux alone tells; elsewhere none ever seems to end.

    Args:
        pids: of the processes.

    Example:
        >>> Ends([]).wait(0.0)
        []
    """

    def __init__(self, pids: list[int]) -> None:
        self._poll = select.poll()
        self._open: dict[int, int] = {}
        self._gone: list[int] = []
        for pid in pids:
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                self._gone.append(pid)
            except (AttributeError, OSError):
                continue
            else:
                self._open[handle] = pid
                self._poll.register(handle, select.POLLIN)

    def wait(self, seconds: float) -> list[int]:
        """The processes that have ended, each returned once, after at most so many seconds."""
        ended, self._gone = self._gone, []
        for handle, _ in self._poll.poll(0 if ended else seconds * 1000):
            self._poll.unregister(handle)
            os.close(handle)
            ended.append(self._open.pop(handle))
        return ended

    def close(self) -> None:
        for handle in self._open:
            os.close(handle)
        self._open = {}
        self._poll = select.poll()


def exit_code_of(pid: int) -> int | None:
    """The exit code of a process that has ended and that its parent has not asked about yet; negative for a signal.

    None where that is not known: the parent has asked already, or the system does not tell.
    """
    with suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # from the third field on
        if fields[0] == "Z" and (status := int(fields[49])):
            return -(status & 0x7F) if status & 0x7F else status >> 8
    return None
