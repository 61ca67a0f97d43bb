"""Runs functions on several gloo ranks, to find what is wrong only there.

The processes are started once for all tests of a session: importing torch and Lightning takes seconds, making a group of
running processes takes milliseconds. Each call has its own process group, random state and environment. After
an error, or no answer in time, the processes are ended, and the next call starts new ones.
"""

import atexit
import gc
import io
import os
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

_COLLECTIVE = timedelta(minutes=2)  # a rank that never joins is an error
_ANSWER = 240.0  # seconds for a call


def run_on_ranks(function: Callable[..., Any], *args: Any, ranks: int = 2, seconds: float = _ANSWER) -> list[Any]:
    """Calls `function(*args)` on each of `ranks` processes of one gloo group.

    Args:
        function: importable at the top level of a module (its name is pickled).
        args: picklable.
        ranks: number of processes, one thread each.
        seconds: in which all of them must answer.

    Returns:
        What each rank returned (anything torch.save takes), in the order of ranks.

    Raises:
        RuntimeError: with the tracebacks of all the ranks that failed.
    """
    pool = _pools.get(ranks)
    if pool is None:
        pool = _pools[ranks] = _Pool(ranks)
    try:
        outcomes = pool.call(function, args, seconds)
    except BaseException:  # the test was interrupted
        _pools.pop(ranks).end()
        raise
    errors = [f"rank {r} of {ranks}:\n{error}" for r, (error, _) in enumerate(outcomes) if error]
    if errors:
        _pools.pop(ranks).end()
        raise RuntimeError("\n".join(errors))
    return [result for _, result in outcomes]


class _Pool:
    """Processes that wait for calls."""

    def __init__(self, ranks: int) -> None:
        context = mp.get_context("spawn")
        pairs = [context.Pipe() for _ in range(ranks)]
        self.pipes: list[Connection] = [ours for ours, _ in pairs]
        self.processes = [
            context.Process(target=_serve, args=(r, ranks, pairs[r][1]), daemon=True) for r in range(ranks)
        ]
        for process, (_, theirs) in zip(self.processes, pairs, strict=True):
            process.start()
            theirs.close()  # so that the end of the process is the end of the pipe

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], seconds: float) -> list[tuple[str, Any]]:
        """(traceback, result) of each rank."""
        with tempfile.TemporaryDirectory() as folder:
            for pipe in self.pipes:
                pipe.send((folder, function, args))
            outcomes: dict[int, tuple[str, Any]] = {}
            deadline = time.monotonic() + seconds
            while len(outcomes) < len(self.pipes):
                waiting = [pipe for r, pipe in enumerate(self.pipes) if r not in outcomes]
                ready = wait(waiting, timeout=max(0.0, deadline - time.monotonic()))
                for r, pipe in enumerate(self.pipes):
                    if pipe in ready:
                        outcomes[r] = self._answer(r, pipe)
                    elif not ready and r not in outcomes:
                        outcomes[r] = f"gave no answer in {seconds:.0f} seconds", None
        return [outcomes[r] for r in range(len(self.pipes))]

    def _answer(self, rank: int, pipe: Connection) -> tuple[str, Any]:
        try:
            error, result = pipe.recv()
        except EOFError:
            self.processes[rank].join(10)
            return f"ended with exit code {self.processes[rank].exitcode} and no result", None
        return error, None if error else torch.load(io.BytesIO(result), weights_only=False)

    def end(self) -> None:
        """Ends the processes at once."""
        for process in self.processes:
            process.kill()
        for process, pipe in zip(self.processes, self.pipes, strict=True):
            process.join()
            pipe.close()


_pools: dict[int, _Pool] = {}


@atexit.register
def _end_all() -> None:
    while _pools:
        _pools.popitem()[1].end()


def _serve(rank: int, ranks: int, pipe: Connection) -> None:
    """What a process does: answers calls until it is ended."""
    environment, state, threads = dict(os.environ), torch.get_rng_state(), 1
    while True:
        try:
            folder, function, args = pipe.recv()
        except EOFError:
            return
        except BaseException:  # the function could not be imported here
            pipe.send((traceback.format_exc(), None))
            continue
        torch.set_num_threads(threads)
        torch.set_rng_state(state)
        pipe.send(_answer(rank, ranks, folder, function, args))
        os.environ.clear()
        os.environ.update(environment)
        del function, args
        gc.collect()  # nothing of this call is alive in the next one


def _answer(
    rank: int, ranks: int, folder: str, function: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[str, bytes | None]:
    """(traceback, saved result) of one call, in its own process group."""
    error, result = "", io.BytesIO()
    try:
        group = {"init_method": f"file://{folder}/group", "rank": rank, "world_size": ranks}
        dist.init_process_group("gloo", timeout=_COLLECTIVE, **group)
        dist.barrier()  # a rank may end its group only once the others have joined it
        torch.save(function(*args), result)
    except BaseException:
        error = traceback.format_exc()
    if dist.is_initialized():
        dist.destroy_process_group()  # others that wait for this rank are told
    return error, None if error else result.getvalue()
