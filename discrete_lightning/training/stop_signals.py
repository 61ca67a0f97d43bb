"""The signals that end a run: what each means, and handlers that note them instead of cutting a step in two."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lightning.pytorch.utilities.exceptions import SIGTERMException

_AGAIN = 0.5  # seconds: launchers pass a signal on that the process has got already

# 128 + the number, as shells report it, and for the warning before a job's end EX_TEMPFAIL of sysexits.h: "try again"
EXIT_CODES = {int(signal.SIGINT): 130, int(signal.SIGTERM): 143}
WARNING = int(getattr(signal, "SIGUSR1", 0))  # none on Windows
if WARNING:
    EXIT_CODES[WARNING] = 75


class StopSignals:
    """Notes SIGINT, SIGTERM and SIGUSR1 while a model is trained, and leaves at once at other times and at a second Ctrl-C.

    Lightning's own handler of SIGTERM takes part in a collective operation, wherever this process is: here none does.

    Attributes:
        noted: the number of the signal that came first; 0 for none.

    Example:
        >>> signals = StopSignals()
        >>> with signals.handled():
        ...     signals.handle(wait=True)
        ...     signal.raise_signal(signal.SIGTERM)
        >>> signals.noted == signal.SIGTERM
        True
    """

    def __init__(self) -> None:
        self.noted, self._time = 0, 0.0
        self._wait = self._is_kept = False
        self._before: dict[int, Any] = {}

    def handle(self, wait: bool) -> None:
        """Handles the signals from now on. Does nothing outside of the main thread.

        Args:
            wait: whether a signal is only noted, until the batch is trained.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        self._wait = wait
        for number in EXIT_CODES:
            before = signal.getsignal(number)
            if before != self._hear:
                self._before.setdefault(number, before)
                signal.signal(number, self._hear)

    def release(self) -> None:
        """Handles them as before `handle`; inside of `handled`, without waiting."""
        self._wait = False
        if self._is_kept or threading.current_thread() is not threading.main_thread():
            return
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_DFL if before is None else before)
        self._before = {}

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handles the signals inside the block, also between and after trainings."""
        self.handle(wait=False)
        self._is_kept = True
        try:
            yield
        finally:
            self._is_kept = False
            self.release()

    def _hear(self, number: int, frame: FrameType | None) -> None:
        first, now = not self.noted, time.monotonic()
        if first:
            self.noted, self._time = int(number), now
        is_urgent = number == signal.SIGINT and now - self._time > _AGAIN
        if self._wait and (first or not is_urgent):
            return
        raise stop_error(self.noted)

    def __getstate__(self) -> dict[str, Any]:
        """A copy in another process handles nothing yet."""
        return {**self.__dict__, "_before": {}, "_wait": False, "_is_kept": False}


def stop_error(number: int) -> BaseException:
    """What ends a trainer after the signal `number`; Lightning takes KeyboardInterrupt for Ctrl-C."""
    return KeyboardInterrupt() if number == signal.SIGINT else SIGTERMException(EXIT_CODES[number])
