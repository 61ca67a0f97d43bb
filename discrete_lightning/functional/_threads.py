"""Blocks of work for several threads, on the CPU.

torch divides each operation among its threads, which then wait for each other: where another process takes one of the cores
for a while, all of them wait. Here a thread takes a block, works on it alone, and takes the next, so that a thread
that had to pause holds up no other.
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import torch

T = TypeVar("T")

_pools: dict[int, ThreadPoolExecutor] = {}  # by number of threads
_creation = threading.Lock()


def in_threads(blocks: Sequence[T], work: Callable[[T], None]) -> None:
    """Calls `work(block)` for each block, in as many threads as torch may use. They begin in the order of the blocks.

    Args:
        blocks: in order.
        work: computes without a gradient. Threads run it at the same time: it may not draw from a generator.
    """
    number = min(torch.get_num_threads(), len(blocks))
    if number <= 1:
        for block in blocks:
            work(block)
        return
    turn, remaining = threading.Lock(), iter(blocks)
    inference = torch.is_inference_mode_enabled()

    def worker() -> None:
        with torch.inference_mode(inference), torch.no_grad():
            while True:
                with turn:
                    block = next(remaining, None)
                if block is None:
                    return
                work(block)

    futures = [_pool(torch.get_num_threads()).submit(worker) for _ in range(number)]
    wait(futures)
    for future in futures:
        future.result()


def _pool(number: int) -> ThreadPoolExecutor:
    """Threads in each of which torch's operations run alone. They wait without using the processor, and end with Python."""
    with _creation:
        if number not in _pools:
            pool = _pools[number] = ThreadPoolExecutor(number, "discrete_lightning")
            ready = threading.Barrier(number + 1)

            def set_up() -> None:
                torch.get_num_threads()  # sets this thread's number to that of the process, before it is changed
                torch.set_num_threads(1)
                ready.wait()

            for _ in range(number):  # each waits for the others, so each is run by a thread of its own
                pool.submit(set_up)
            ready.wait()
            torch.set_num_threads(number)  # `set_num_threads` also sets what threads that start later get
        return _pools[number]


def _forget_threads() -> None:
    """A forked process has none of its parent's threads."""
    global _creation
    _pools.clear()
    _creation = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
