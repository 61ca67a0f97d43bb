"""Everything global that a run changes, put back afterwards: a notebook or a test may call `main` many times."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

import torch
from lightning.pytorch.utilities.seed import isolate_rng

from discrete_lightning.cli import trust
from discrete_lightning.cli._jsonargparse_private import parsing_rules
from discrete_lightning.cli.quiet import quiet


@contextmanager
def session(argv: Sequence[str], trusted: Sequence[str]) -> Iterator[None]:
    """Sets up the process for one run and puts it back.

    Args:
        argv: the command line: Lightning starts further processes (`ddp`) from `sys.argv`.
        trusted: module prefixes given with `--trust`.
    """
    with ExitStack() as stack:
        for change in (_environment(), _interrupt_handler(), _torch_flags(), _random_state(), quiet()):
            stack.enter_context(change)
        stack.enter_context(_arguments(argv, import_from_here=bool(trusted)))
        stack.enter_context(_parsing_rules(trusted))
        yield


@contextmanager
def _environment() -> Iterator[None]:
    before = dict(os.environ)
    # LightningCLI 2.6 calls jsonargparse by names that 4.53 renamed: nothing that a user could mend.
    os.environ["JSONARGPARSE_DEPRECATION_WARNINGS"] = "off"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _interrupt_handler() -> Iterator[None]:
    """Lightning ignores SIGINT from the first Ctrl-C on, and leaves it so."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


@contextmanager
def _random_state() -> Iterator[None]:
    isolation = isolate_rng()
    isolation.__enter__()
    try:
        yield
    finally:
        isolation.__exit__(None, None, None)  # by itself it puts nothing back after an error


@contextmanager
def _torch_flags() -> Iterator[None]:
    """What `trainer.deterministic` and `trainer.benchmark` set for the whole process."""
    deterministic, benchmark = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.backends.cudnn.benchmark = benchmark


@contextmanager
def _arguments(argv: Sequence[str], import_from_here: bool) -> Iterator[None]:
    before, path = sys.argv, list(sys.path)
    sys.argv = [*before[:1], *argv]
    if import_from_here and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # `--trust my_model` means ./my_model.py, which a console script cannot see
    try:
        yield
    finally:
        sys.argv, sys.path[:] = before, path


def _parsing_rules(trusted: Sequence[str]) -> AbstractContextManager[None]:
    return parsing_rules(
        omegaconf_absolute_to_relative_paths=True,
        instantiate_subclass_spec_in_any=False,
        import_path_denylist=trust.denied(),
        import_path_allowlist=trust.allowed(trusted),
    )
