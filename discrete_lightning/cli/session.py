"""The process as a run needs it: quiet, with the rules of what configs may name; put back afterwards."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from discrete_lightning.cli import trust
from discrete_lightning.cli._jsonargparse_private import parsing_rules
from discrete_lightning.training.global_state import keep_global_state
from discrete_lightning.training.quiet import quiet


@contextmanager
def session(argv: Sequence[str], trusted: Sequence[str]) -> Iterator[None]:
    """Sets up the process for one run and puts it back.

    Args:
        argv: the command line: Lightning starts further processes (`ddp`) from `sys.argv`.
        trusted: module prefixes given with `--trust`.
    """
    rules = {"import_path_denylist": trust.denied(), "import_path_allowlist": trust.allowed(trusted)}
    paths = {"omegaconf_absolute_to_relative_paths": True, "instantiate_subclass_spec_in_any": False}
    with keep_global_state(), quiet(), parsing_rules(**paths, **rules):
        # LightningCLI 2.6 calls jsonargparse by names that 4.53 renamed: nothing that a user could mend.
        os.environ["JSONARGPARSE_DEPRECATION_WARNINGS"] = "off"
        sys.argv = [*sys.argv[:1], *argv]
        if trusted and os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())  # `--trust my_model` means ./my_model.py, which a console script cannot see
        yield
