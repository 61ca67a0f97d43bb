"""A folder for each run: claimed by one process, known to all processes, empty at the start."""

import os
import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from discrete_lightning.training.launch_record import LAUNCH, find_run, write_launch

# Lightning's `ddp` starts the same command again for each further process: this tells them the folder.
_VARIABLE = "DISCRETE_LIGHTNING_RUN_DIR"
_MOST = 1000  # runs of one name in one second
CONFIG = "config.yaml"
_NO_RESULTS = {CONFIG, "hparams.yaml", LAUNCH}


def is_first_process() -> bool:
    """Whether this process has global rank zero, by what torchrun, SLURM or Lightning's launcher set."""
    for variable in ("RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"):
        if variable in os.environ:
            return os.environ[variable] == "0"
    return all(os.environ.get(variable, "0") == "0" for variable in ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK"))


def claim_folder(
    root: Path, suffix: str = "", exact: Path | None = None, config: str = "", resumes: bool = False
) -> Path:
    """Claims the folder `root/<time stamp><suffix>` for this run, or finds the one that the first process has claimed.

    The run whose config.yaml is the first in the folder has it, also if several start at once. In a process that another
    launcher started the path is a guess until the processes are connected, and nothing is written to it: see `RunRecorder`.

    Args:
        root: the folder of all runs of one name.
        suffix: added to the time stamp.
        exact: this folder instead, which must be empty or not there.
        config: written to config.yaml.
        resumes: whether a command that a launcher starts again goes on in its folder.

    Raises:
        FileExistsError: `exact` is in use. Nothing in it was touched.
        OSError: the folder cannot be made. Nothing is left behind.
    """
    before = earlier_attempt(root, exact, config) if resumes else None
    if before is not None:
        if is_first_process():
            os.environ[_VARIABLE] = str(before.resolve())
        return before
    if not is_first_process():
        return Path(os.environ.get(_VARIABLE, exact or root))
    made = exact is None or not exact.exists()
    folder = _exact(exact) if exact else _fresh(root, suffix)
    try:
        with (folder / CONFIG).open("x", encoding="utf-8") as file:
            file.write(config)
        write_launch(folder)
    except FileExistsError:
        raise _in_use(folder) from None
    except OSError:
        discard_folder(folder, made)
        raise
    os.environ[_VARIABLE] = str(folder.resolve())
    return folder


def earlier_attempt(root: Path, exact: Path | None, config: str) -> Path | None:
    """The folder of this run where torchrun or SLURM starts its command again; None for its first attempt."""
    return find_run(root, exact, config, CONFIG)


def discard_folder(folder: Path, made: bool = True) -> None:
    """Removes the folder of a run that failed before it had results, and the folder of all runs of its name if empty.

    Removes nothing if the folder holds any file but those that say what the run was to be: what a run has written stays.

    Args:
        folder: of the run.
        made: whether the run made the folder; if not, it is emptied and stays.
    """
    files = set(run_files(folder))
    if not is_first_process() or not {name for name in files if not name.startswith("wandb/")} <= _NO_RESULTS:
        return
    shutil.rmtree(folder / "wandb", ignore_errors=True)
    for name in _NO_RESULTS:
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):  # not empty: another process has written to it meanwhile
        for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
            path.rmdir()
        if made:
            folder.rmdir()
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
        raise _in_use(folder)
    return folder


def _in_use(folder: Path) -> FileExistsError:
    return FileExistsError(f"{folder} is in use: give a folder that is empty or not there")


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
