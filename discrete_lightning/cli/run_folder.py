"""The folder of a run: new for each, made by one process, known to all."""

import os
import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from discrete_lightning.cli.errors import MISUSE, CliError
from discrete_lightning.cli.invocation import Invocation

# Lightning's `ddp` starts the same command again for each further process: this tells them the folder.
_VARIABLE = "DISCRETE_LIGHTNING_RUN_DIR"
_MOST = 1000  # runs of one name in one second


def is_first_process() -> bool:
    """Whether this process has global rank zero, by what torchrun, SLURM or Lightning's launcher set."""
    for variable in ("RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"):
        if variable in os.environ:
            return os.environ[variable] == "0"
    return all(os.environ.get(variable, "0") == "0" for variable in ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK"))


def claim(invocation: Invocation, name: str) -> Path:
    """Makes the folder of this run, or finds the one that the first process has made.

    In a process that another launcher started the path is a guess until the processes are connected, and nothing is
    written to it: see `RunRecorder`.

    Args:
        invocation: what was asked for.
        name: what runs of the config are called.

    Raises:
        CliError: `--run_dir` is in use, or the folder cannot be made. Nothing is left behind.
    """
    if not is_first_process():
        return Path(os.environ.get(_VARIABLE, invocation.run_dir or invocation.run_root / name))
    try:
        folder = _exact(invocation.run_dir) if invocation.run_dir else _fresh(invocation, name)
    except OSError as error:
        raise CliError(
            f"the run folder cannot be made: {error.strerror}: {error.filename}; give --run_root a folder to write to"
        ) from None
    os.environ[_VARIABLE] = str(folder.resolve())
    return folder


def discard(folder: Path) -> None:
    """Removes the folder of a run that did not start, and the one of all runs of its name if that is empty then."""
    if is_first_process():
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            folder.parent.rmdir()


def files(folder: Path) -> list[str]:
    """Relative paths of what a run wrote, sorted. A W&B run is one entry: its inner files are W&B's own."""
    found = set()
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if parts[0] == "wandb":
            if len(parts) == 2 and path.is_dir() and not path.is_symlink():
                found.add("/".join(parts) + "/")
        elif path.is_file():
            found.add("/".join(parts))
    return sorted(found)


def _exact(folder: Path) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir() or any(folder.iterdir()):
            raise CliError(f"--run_dir {folder} is in use: give a folder that is empty or not there", MISUSE) from None
    return folder


def _fresh(invocation: Invocation, name: str) -> Path:
    parent = invocation.run_root / name
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    if invocation.command != "fit":
        stamp += f"-{invocation.command}"
    for number in range(1, _MOST):
        folder = parent / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise
            continue
        return folder
    raise CliError(f"{parent} holds {_MOST} runs of {stamp}: give --run_root or --run_dir another folder")
