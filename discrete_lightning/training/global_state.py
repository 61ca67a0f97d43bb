"""Restores what a run changes in its process, since a notebook or a test may start many runs."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.pytorch.utilities.seed import isolate_rng

from discrete_lightning.functional._keyed import unkeyed


@contextmanager
def keep_global_state() -> Iterator[None]:
    """Restores at the end of the block: environment, arguments, import path, random state, torch flags, handling of Ctrl-C."""
    environment, arguments, path = dict(os.environ), sys.argv, list(sys.path)
    interrupt = signal.getsignal(signal.SIGINT)  # Lightning ignores SIGINT from the first Ctrl-C on, and leaves it so
    deterministic, benchmark = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    try:
        with keep_random_state():
            yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        sys.argv, sys.path[:] = arguments, path
        torch.use_deterministic_algorithms(deterministic)
        torch.backends.cudnn.benchmark = benchmark
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, interrupt)


@contextmanager
def keep_random_state() -> Iterator[None]:
    """Restores at the end of the block, also after an error: the random state of torch on all devices, numpy and Python.

    Within the block noise is not keyed.
    """
    random_state = isolate_rng()
    random_state.__enter__()
    try:
        with unkeyed():
            yield
    finally:
        random_state.__exit__(None, None, None)  # its context manager restores nothing after an error
