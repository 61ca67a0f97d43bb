"""What was asked for: the command line taken apart before anything heavy is imported."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from discrete_lightning.cli.errors import MISUSE, CliError
from discrete_lightning.cli.sources import Source, find_source

# These say how to run, not what: they are read here and never from a config. `--trust` in a config would be no guard,
# and a run folder in a config would keep it from being run twice.
_WITH_VALUE = ("--trust", "--run_root", "--run_dir", "--ckpt_path", "--codes")
_FLAGS = ("--traceback",)
_CONFIG = ("-c", "--config")

OPTIONS_HELP = """\
options of discrete-lightning itself (on the command line only, not in configs):
  -c, --config CONFIG   a config's name (see `discrete-lightning ls`), a file, or a run's folder; the later one wins
  --ckpt_path PATH      a checkpoint, or `last` or `best` of the run folder given by -c
  --run_root DIR        where run folders are made (default: runs)
  --run_dir DIR         the exact folder of this run; it must not exist or be empty
  --trust PREFIX        let configs name classes under this module, too (repeatable)
  --codes FILE          what `decode` decodes: a codes.npz of `predict`, or an .npy array
  --traceback           show the traceback of every error
"""


@dataclass
class Invocation:
    """One call of `fit`, `validate`, `test`, `predict`, `decode` or `check`.

    Args:
        command: the sub-command.
        args: what is left for the parser of configs and options, `--config` aside.
        sources: the configs, in order; the later one wins.
        trust: module prefixes that configs may name beside the built-in ones.
        run_root: the folder in which run folders are made.
        run_dir: the exact run folder, where one was given.
        ckpt_path: the checkpoint as it was given.
        codes: the file to decode.
        traceback: whether errors show their traceback.
    """

    command: str
    args: list[str] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    trust: list[str] = field(default_factory=list)
    run_root: Path = Path("runs")
    run_dir: Path | None = None
    ckpt_path: str | None = None
    codes: Path | None = None
    traceback: bool = False

    @property
    def run(self) -> Path | None:
        """The run folder that was given with `-c`, the last one if there are several."""
        return next((source.run for source in reversed(self.sources) if source.run is not None), None)


def read_invocation(argv: Sequence[str]) -> Invocation:
    """Takes apart `[command, *options]`.

    Raises:
        CliError: an option has no value, or a config was not found.
    """
    invocation = Invocation(argv[0])
    rest = list(argv[1:])
    while rest:
        token = rest.pop(0)
        if token.startswith("-c") and token[2:3] not in ("", "="):  # -cFILE
            token = f"-c={token[2:]}"
        name, equals, value = token.partition("=")
        if token in _FLAGS:
            invocation.traceback = True
        elif name in _CONFIG or name in _WITH_VALUE:
            if not equals:
                if not rest:
                    raise CliError(f"{name} was given without a value", MISUSE)
                value = rest.pop(0)
            _set(invocation, name, value)
        else:
            invocation.args.append(token)
    return invocation


def _set(invocation: Invocation, name: str, value: str) -> None:
    if name in _CONFIG:
        invocation.sources.append(find_source(value))
    elif name == "--trust":
        invocation.trust.append(value.rstrip("."))
    elif name == "--run_root":
        invocation.run_root = Path(value)
    elif name == "--run_dir":
        invocation.run_dir = Path(value)
    elif name == "--codes":
        invocation.codes = Path(value)
    else:
        invocation.ckpt_path = value
