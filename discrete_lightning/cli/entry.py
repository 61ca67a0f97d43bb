"""The entry point: what needs no torch is answered here, the rest is imported when it is asked for."""

import difflib
import os
import sys
import traceback
from collections.abc import Sequence

from discrete_lightning import __version__
from discrete_lightning.cli.catalog import copy_config, list_configs
from discrete_lightning.cli.errors import INTERRUPTED, MISUSE, CliError, one_line
from discrete_lightning.cli.invocation import OPTIONS_HELP, read_invocation
from discrete_lightning.cli.trust import check_trust

_RUN = ("fit", "validate", "test", "predict", "decode", "check")
_HELP = f"""\
usage: discrete-lightning COMMAND [options]

commands:
  ls                    list the configs that come with the package
  cp NAME TARGET.yaml   copy one, to change it
  check -c CONFIG       build everything the config names, train nothing, write nothing
  fit -c CONFIG         train; every run has a folder of its own
  validate -c RUN       evaluate a run's last checkpoint on the validation set
  test -c RUN           evaluate it on the test set
  predict -c RUN        run it on the prediction set: an autoencoder writes the codes of every image
  decode -c RUN --codes FILE
                        turn codes back into images
                        Options after the config win over it: fit -c vq/quickstart --model.estimator ReinMax
                        `discrete-lightning fit --help` lists them all.

{OPTIONS_HELP}
  --help                this page
  --version             the version
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the process's exit code.

    0 is success; 1 is a failure that the message on stderr explains; 2 is a command line or config that cannot be
    understood; 130 is Ctrl-C. May be called many times in one process: global state is put back.

    Args:
        argv: the arguments, `sys.argv[1:]` by default.

    Raises:
        Exception: what nobody foresaw, with its traceback.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(argv)
    except CliError as error:
        if "--traceback" in argv:
            traceback.print_exception(error)
        print(f"error: {one_line(error)}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        if "--traceback" in argv:
            raise
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_HELP, end="")
        return 0 if argv else MISUSE
    command, *rest = argv
    if command in ("--version", "-V"):
        print(f"discrete-lightning {__version__}")
    elif command in _RUN:
        invocation = read_invocation(argv)
        check_trust(invocation.sources, invocation.args, invocation.trust)

        if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
            # Threads that wait by spinning for long starve when another process wants a core: a training step on 2 cores
            # with a busy neighbour took over 1,000 ms by default and 115 ms with this, on idle cores 32 ms either way.
            os.environ.setdefault("GOMP_SPINCOUNT", "10000")

        from discrete_lightning.cli.commands import run

        return run(invocation, argv)
    elif command not in ("ls", "cp"):
        close = difflib.get_close_matches(command, ("ls", "cp", *_RUN), n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise CliError(f"there is no command {command!r}{hint} (`discrete-lightning --help` lists all)", MISUSE)
    elif "-h" in rest or "--help" in rest:
        print(_HELP, end="")
    elif command == "ls":
        if rest:
            raise CliError(f"ls takes no arguments, got {' '.join(rest)}", MISUSE)
        print(list_configs())
    else:
        if len(rest) != 2:
            raise CliError(f"cp takes two arguments, cp NAME TARGET.yaml, got {len(rest)}", MISUSE)
        path = copy_config(*rest)
        print(f"wrote {path}; run it with: discrete-lightning fit -c {path}")
    return 0
