"""A rank that dies, hangs or loses its host: noticed by the others, which end, and told by one of them in one line.

Each rank has two threads. One talks with the key-value store of the process group, by a connection of its own: it counts
beats for this rank, reads those of the next one, and looks whether a rank has told of a fault. The other waits for the ends of
the processes on this machine. So a rank ends even while a collective operation waits for one that is gone.
"""

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Literal

import torch.distributed as dist

from discrete_lightning.functional._torch_private import default_store, own_prefix
from discrete_lightning.training.launched import why_ended
from discrete_lightning.training.processes import Ends, exit_code_of, machine

BEAT = 0.5  # seconds
SILENCE = 30.0  # seconds after which a rank, or the store, is given up
GRACE = 8.0  # seconds for a process to end by itself
_CONNECTION = re.compile(r"gloo|nccl|connection|socket|peer|store|timed out|broken pipe", re.IGNORECASE)


@dataclass(frozen=True)
class Fault:
    """What the ranks end of.

    Args:
        rank: that failed.
        text: what happened to it, the end of a sentence.
        kind: an error of its own, which it shows itself; its process has ended; or nothing is heard of it.
        writer: the rank that tells of it.
    """

    rank: int
    text: str
    kind: Literal["error", "ended", "silent"]
    writer: int


class RankWatch:
    """Watches the ranks of the default process group from `start` to `finish`.

    Args:
        advice: what to do: the end of the line that tells of a rank that is gone.
        leave: called before this process is ended because its main thread does not end it.
        starter_tells: whether the process that started the ranks tells of one that has ended.

    Attributes:
        fault: the first one, the same on all ranks; None while all is well.
    """

    def __init__(
        self, advice: Callable[[], str], leave: Callable[[], None] = lambda: None, starter_tells: bool = False
    ) -> None:
        self.fault: Fault | None = None
        self._advice, self._leave, self._starter_tells = advice, leave, starter_tells
        self._ranks: list[dict[str, Any]] = []
        self._suspects: list[Fault] = []
        self._store: Any = None
        self._is_store_gone = self._is_finished = False
        self._ticks = 0  # of the thread that waits, since the store has answered
        self._known, self._lock = threading.Event(), threading.Lock()

    def start(self) -> None:
        """Starts watching; called on all ranks, once. Does nothing where the group's store is none that all can reach."""
        if self._store is not None or (store := default_store()) is None:
            return
        self._rank, self._size = dist.get_rank(), dist.get_world_size()
        self._store = own_prefix(store.clone())
        self._store.set(f"rank/{self._rank}", json.dumps({"pid": os.getpid(), "machine": machine()}))
        self._ranks = [json.loads(self._store.get(f"rank/{each}")) for each in range(self._size)]
        self._store.set_timeout(timedelta(seconds=SILENCE))
        for work in (self._talk, self._wait):
            threading.Thread(target=work, daemon=True, name=f"ranks{work.__name__}").start()

    def finish(self) -> None:
        """Ends the watch where this rank has come to its end. The one with the store waits a little for the others."""
        if self._store is None or self._is_finished or self.fault is not None:
            return
        self._is_finished = True
        if not self._lock.acquire(timeout=GRACE):
            return
        with suppress(RuntimeError):  # the rank with the store has left
            self._store.set(f"left/{self._rank}", "1")
            end, names = time.monotonic() + GRACE, [f"left/{each}" for each in range(self._size)]
            while self._rank == 0 and time.monotonic() < end and not self._store.check(names):
                time.sleep(0.02)
        self._lock.release()

    @property
    def is_victim(self) -> bool:
        """Whether another rank has failed first, and tells of it, or is told of."""
        return self.fault is not None and (self.fault.rank, self.fault.kind) != (self._rank, "error")

    def blame(self, error: BaseException) -> None:
        """Tells the other ranks of an error of this one, unless another has failed before.

        An error of a collective operation is the fault of the rank that it has lost: that is waited for.
        """
        if self._store is None or self._is_finished:
            return
        if isinstance(error, RuntimeError) and _CONNECTION.search(str(error)):
            self._known.wait(GRACE)
        text = f"failed: {' '.join(f'{type(error).__name__}: {error}'.split())}"
        self._suspects.append(Fault(self._rank, text, "error", self._rank))
        self._known.wait(4 * BEAT)
        if self._starter_tells and self.is_victim:
            time.sleep(2 * GRACE)  # the starter, which takes the first process that ends for the culprit, ends this one

    def _settle(self, fault: Fault) -> None:
        if self.fault is None:
            self.fault = fault
            self._tell(fault)  # before the main thread, which waits for it, can end this process
        self._known.set()

    def _talk(self) -> None:
        behind, seen, silent = (self._rank + 1) % self._size, -1, 0
        text = f"has not been heard of for {SILENCE:.0f} s"
        while not self._is_finished and self.fault is None:
            try:
                with self._lock:
                    self._store.add(f"beat/{self._rank}", 1)
                    beats = self._store.add(f"beat/{behind}", 0)
                    if silent * BEAT >= SILENCE:
                        self._suspects.append(Fault(behind, text, "silent", self._rank))
                    self._compare()
            except (RuntimeError, OSError):
                self._is_store_gone = True
                return
            seen, silent, self._ticks = beats, 0 if beats != seen else silent + 1, 0
            time.sleep(BEAT)

    def _compare(self) -> None:
        """Agrees with the other ranks on the first fault."""
        while self._suspects:
            fault = self._suspects.pop(0)
            if not self._store.check([f"left/{fault.rank}"]):
                self._store.compare_set("fault", "", json.dumps(asdict(fault)))
        if self._store.check(["fault"]):
            self._settle(Fault(**json.loads(self._store.get("fault"))))

    def _wait(self) -> None:
        pids = {each["pid"]: rank for rank, each in enumerate(self._ranks) if each["machine"] == machine()}
        pids.pop(os.getpid())
        ends = Ends(list(pids))
        ended: dict[int, str] = {}
        while not self._is_finished and self.fault is None:
            for pid in ends.wait(BEAT):
                ended[pids[pid]] = why_ended(exit_code_of(pid))
                self._suspects.append(Fault(pids[pid], ended[pids[pid]], "ended", self._rank))
            self._ticks += 1
            if self._is_store_gone or self._ticks * BEAT >= SILENCE:
                ended |= {pids[pid]: why_ended(exit_code_of(pid)) for pid in ends.wait(BEAT)}
                writer = min({*range(self._size)} - {0, *ended}, default=self._rank)
                gone = Fault(0, "no longer answers, or its launcher does not", "silent", writer)
                self._settle(Fault(0, ended[0], "ended", writer) if 0 in ended else gone)
        ends.close()
        if self.fault is not None and not self._is_finished:
            time.sleep(3 * GRACE if self._starter_tells else GRACE)
            self._leave()
            os._exit(1)  # a collective operation, or a computation, holds the main thread

    def _tell(self, fault: Fault) -> None:
        if fault.kind == "error" or fault.writer != self._rank or (fault.kind == "ended" and self._starter_tells):
            return
        pid, host = self._ranks[fault.rank]["pid"], self._ranks[fault.rank]["machine"].rpartition("/")[0]
        line = f"rank {fault.rank} (pid {pid} on {host}) {fault.text}: the others cannot go on; {self._advice()}"
        print(f"error: {line}", file=sys.stderr, flush=True)
