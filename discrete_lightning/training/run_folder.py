"""A folder for each run: made by one process, known to all processes, empty at the start."""

import os
import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path

# Lightning's `ddp` starts the same command again for each further process: this tells them the folder.
_VARIABLE = "DISCRETE_LIGHTNING_RUN_DIR"
_MOST = 1000  # runs of one name in one second
_NO_RESULTS = {"config.yaml", "hparams.yaml"}


def is_first_process() -> bool:
    """Whether this process has global rank zero, by what torchrun, SLURM or Lightning's launcher set."""
    for variable in ("RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"):
        if variable in os.environ:
            return os.environ[variable] == "0"
    return all(os.environ.get(variable, "0") == "0" for variable in ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK"))


def claim_folder(root: Path, suffix: str = "", exact: Path | None = None) -> Path:
    """Makes the folder `root/<time stamp><suffix>` of this run, or finds the one that the first process has made.

    In a process that another launcher started the path is a guess until the processes are connected, and nothing is
    written to it: see `RunRecorder`.

    Args:
        root: the folder of all runs of one name.
        suffix: added to the time stamp.
        exact: this folder instead, which must be empty or not there.

    Raises:
        FileExistsError: `exact` is in use.
        OSError: the folder cannot be made. Nothing is left behind.
    """
    if not is_first_process():
        return Path(os.environ.get(_VARIABLE, exact or root))
    folder = _exact(exact) if exact else _fresh(root, suffix)
    os.environ[_VARIABLE] = str(folder.resolve())
    return folder


def discard_folder(folder: Path) -> None:
    """Removes the folder of a run that failed, unless it holds results, and the folder of all runs of its name if empty."""
    results = {name for name in run_files(folder) if not name.startswith("wandb/")}
    if is_first_process() and results <= _NO_RESULTS:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            folder.parent.rmdir()


def run_files(folder: Path) -> list[str]:
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
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is in use: give a folder that is empty or not there")
    return folder


def _fresh(root: Path, suffix: str) -> Path:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S") + suffix
    for number in range(1, _MOST):
        folder = root / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise
            continue
        return folder
    raise OSError(f"{root} holds {_MOST} runs of {stamp}")
