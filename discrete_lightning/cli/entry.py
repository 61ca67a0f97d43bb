"""The entry point. Commands that need no torch run here; what the others need is imported when they run."""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from discrete_lightning import __version__
from discrete_lightning.cli.configs import copy_config, find_source, list_configs
from discrete_lightning.cli.console import consoles
from discrete_lightning.cli.errors import FAILURE, INTERRUPTED, MISUSE, CliError, did_you_mean, one_line
from discrete_lightning.cli.guards.secrets import hidden, secrets
from discrete_lightning.cli.home import replace_missing_home
from discrete_lightning.cli.verbs import family_verbs

_RUN = {
    "check": "-c CONFIG: build everything the config names; train nothing, write nothing",
    "fit": "-c CONFIG: train; every run has a new folder",
    "validate": "-c RUN: evaluate a run's last checkpoint on the validation set",
    "test": "-c RUN: evaluate it on the test set",
    "predict": "-c RUN: run it on the prediction set (an autoencoder writes the codes of every image)",
}
_EPILOG = """
Options after the config override it: fit -c vq/quickstart --model.estimator ReinMax
`discrete-lightning fit --help` lists them all.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CliError(f"{message} (`discrete-lightning --help`)", MISUSE)


def own_options() -> _Parser:
    """The options that say how to run, not what.

    They are read from the command line only: `--trust` in a config would protect nothing, and a run's folder in a config would
    keep it from being run twice.
    """
    parser = _Parser(add_help=False, allow_abbrev=False)
    group = parser.add_argument_group("options of discrete-lightning itself (on the command line only, not in configs)")
    many: dict[str, Any] = {"action": "append", "default": []}
    config_help = "a config's name (see `discrete-lightning ls`), a file, or a run's folder; the later one wins"
    group.add_argument("-c", "--config", dest="sources", **many, metavar="CONFIG", help=config_help)
    group.add_argument("--ckpt_path", metavar="PATH", help="a checkpoint, or `last` or `best` of the run given by -c")
    group.add_argument("--run_root", type=Path, default=Path("runs"), metavar="DIR", help="folder of all runs: runs")
    group.add_argument("--run_dir", type=Path, metavar="DIR", help="the exact folder of this run; empty or not there")
    group.add_argument("--trust", **many, metavar="PREFIX", help="let configs name classes of this module")
    group.add_argument("--traceback", action="store_true", help="show the traceback of every error")
    return parser


def own_help() -> str:
    """The help of these options, without a usage."""
    return own_options().format_help().partition("\n\n")[2]


def read_command(argv: Sequence[str]) -> argparse.Namespace:
    """Reads `[command, *options]`; raises CliError where it cannot be understood.

    Returns own options, with `sources` found; `name`, and `command`, which differs for a verb; `args`, what is left for the
    parser of configs; `run`, the last run folder given with -c, or None; `usage` and `description`, for its help.
    """
    verbs = family_verbs()
    known = ("ls", "cp", *_RUN, *verbs)
    if argv and argv[0] not in known and not argv[0].startswith("-"):
        hint = did_you_mean(argv[0], known)
        raise CliError(f"there is no command {argv[0]!r}{hint} (`discrete-lightning --help` lists all)", MISUSE)
    style, epilog = argparse.RawDescriptionHelpFormatter, own_help() + _EPILOG
    parser = _Parser(prog="discrete-lightning", allow_abbrev=False, epilog=epilog, formatter_class=style)
    parser.add_argument("--version", "-V", action="version", version=f"discrete-lightning {__version__}")
    commands = parser.add_subparsers(dest="name", metavar="COMMAND", required=True)
    commands.add_parser("ls", help="list the configs that come with the package")
    copy = commands.add_parser("cp", help="NAME TARGET.yaml: copy one, to change it")
    copy.add_argument("config", metavar="NAME")
    copy.add_argument("target", metavar="TARGET.yaml")
    texts = _RUN | {name: verb.text for name, verb in verbs.items()}
    for name, text in texts.items():
        command = commands.add_parser(name, help=text, parents=[own_options()], add_help=False, allow_abbrev=False)
        for option, entry in verbs[name].options.items() if name in verbs else ():
            command.add_argument(f"--{option}", metavar=entry["metavar"], help=entry["help"])
    request, args = parser.parse_known_args(argv)
    if request.name in ("ls", "cp"):
        if args:
            raise CliError(f"{request.name} does not take {' '.join(args)}", MISUSE)
        return request
    request.command = request.name
    usage, _, request.description = texts[request.name].partition(": ")
    request.usage = f"discrete-lightning {request.name} {usage} [options]"
    if verb := verbs.get(request.name):
        request.command = verb.command
        args += verb.expand(request) if not {"-h", "--help"} & set(args) else []
    request.args, request.trust = args, [prefix.rstrip(".") for prefix in request.trust]
    request.sources = [find_source(value) for value in request.sources]
    request.run = next((source.run for source in reversed(request.sources) if source.run is not None), None)
    return request


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command, by default that of `sys.argv`, and returns the process's exit code; a bug is raised.

    0 is success; 1 is a failure that the message on stderr explains; 2 is a command line or config that cannot be
    understood; 130 is Ctrl-C. May be called many times in one process: global state is restored.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    with consoles() as output:
        code = _code(argv)
        output.flush()
        if output.error is not None and not isinstance(output.error, BrokenPipeError):
            print(f"error: the output cannot be written: {output.error.strerror}", file=sys.stderr)
            return FAILURE
        return code


def _code(argv: list[str]) -> int:
    try:
        return _run(argv)
    except SystemExit as stop:  # of argparse, after --help and --version
        return int(stop.code or 0)
    except CliError as error:
        if "--traceback" in argv:
            traceback.print_exception(error)
        elif error.frames:
            print(error.frames, file=sys.stderr)
        print(f"error: {hidden(one_line(error), secrets())}", file=sys.stderr)
        if error.after:
            print(error.after, file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        if "--traceback" in argv:
            raise
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _run(argv: list[str]) -> int:
    request = read_command(argv)
    if request.name in ("ls", "cp"):
        print(list_configs() if request.name == "ls" else copy_config(request.config, request.target))
        return 0
    if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
        # Threads that spin while they wait are slow when another process uses a core: a training step on 2 cores then
        # took over 1,000 ms by default and 115 ms with this setting; on idle cores it took 32 ms either way.
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # Otherwise torch shows a C++ stack of each connection to a process that is gone: `rank_watch` says it in one line.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    replace_missing_home()

    from discrete_lightning.cli.commands import run

    return run(request, argv)
