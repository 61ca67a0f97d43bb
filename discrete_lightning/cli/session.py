"""Everything global that a run changes, put back afterwards: a notebook or a test may call `main` many times."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from lightning.pytorch.utilities.seed import isolate_rng

from discrete_lightning.cli import trust
from discrete_lightning.cli._jsonargparse_private import parsing_rules
from discrete_lightning.training.quiet import quiet


@contextmanager
def session(argv: Sequence[str], trusted: Sequence[str]) -> Iterator[None]:
    """Sets up the process for one run and puts it back.

    Args:
        argv: the command line: Lightning starts further processes (`ddp`) from `sys.argv`.
        trusted: module prefixes given with `--trust`.
    """
    rules = {"import_path_denylist": trust.denied(), "import_path_allowlist": trust.allowed(trusted)}
    with ExitStack() as stack:
        _restore_later(stack)
        stack.enter_context(quiet())
        # LightningCLI 2.6 calls jsonargparse by names that 4.53 renamed: nothing that a user could mend.
        os.environ["JSONARGPARSE_DEPRECATION_WARNINGS"] = "off"
        sys.argv = [*sys.argv[:1], *argv]
        if trusted and os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())  # `--trust my_model` means ./my_model.py, which a console script cannot see
        stack.enter_context(
            parsing_rules(omegaconf_absolute_to_relative_paths=True, instantiate_subclass_spec_in_any=False, **rules)
        )
        yield


def _restore_later(stack: ExitStack) -> None:
    environment, arguments, path = dict(os.environ), sys.argv, list(sys.path)
    interrupt = signal.getsignal(signal.SIGINT)  # Lightning ignores SIGINT from the first Ctrl-C on, and leaves it so
    deterministic, benchmark = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    random_state = isolate_rng()
    random_state.__enter__()

    def restore() -> None:
        random_state.__exit__(None, None, None)  # by itself it puts nothing back after an error
        os.environ.clear()
        os.environ.update(environment)
        sys.argv, sys.path[:] = arguments, path
        torch.use_deterministic_algorithms(deterministic)
        torch.backends.cudnn.benchmark = benchmark
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, interrupt)

    stack.callback(restore)
