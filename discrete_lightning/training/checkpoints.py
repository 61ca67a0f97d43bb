"""Checkpoints of a run's folder, and what to say of one that does not fit."""

import os
import re
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from discrete_lightning.training.checkpoint_io import read_checkpoint
from discrete_lightning.training.damage import CheckpointError, check_content, check_file

_SIZE = re.compile(
    r"size mismatch for (\S+): copying a param with shape torch\.Size\(\[(.*?)\]\) from checkpoint, "
    r"the shape in current model is torch\.Size\(\[(.*?)\]\)"
)
_SHOWN = 3
_CONNECTOR = "checkpoint_connector.py"  # of Lightning, which hands out what a checkpoint holds
_PACKAGE = str(Path(__file__).resolve().parents[1])
_SHARDED = ".metadata"  # in a folder that is one checkpoint, as FSDP writes it
_RESTORING = (
    "load_state_dict",
    "set_extra_state",
    "on_load_checkpoint",
)  # where modules and callbacks read their state


def checkpoints_of_run(run: Path) -> list[Path]:
    """All checkpoints in the folder `run`, the one written last first."""
    return _newest((run / "checkpoints").rglob("*.ckpt"))


def find_checkpoint(given: str, run: Path | None) -> Path:
    """The file that `given` means: `last` or `best` of the run in the folder `run`, or a path.

    The path of a folder means the last checkpoint of the run in it, or of those that lie in it.

    Raises:
        CheckpointError: there is none.
    """
    if given not in ("last", "best"):
        path = Path(given.removeprefix("file://"))
        if path.is_dir():
            return _last_in(path)
        if not path.exists():
            there = ", ".join(sorted(found.name for found in path.parent.glob("*.ckpt"))) or "no checkpoint"
            raise CheckpointError(
                f"there is no checkpoint {path}: that folder holds {there}; give one with --ckpt_path"
            )
        return path
    if run is None:
        raise CheckpointError(f"--ckpt_path {given} is the {given} checkpoint of a run, and -c names no run folder")
    found = checkpoint_of_run(run, given)
    if found is None:
        folder = run / "checkpoints"
        raise CheckpointError(f"{folder} holds no checkpoint: give one with --ckpt_path, or train with fit -c {run}")
    return found


def _last_in(folder: Path) -> Path:
    if (folder / _SHARDED).exists():
        return folder
    last = (
        checkpoint_of_run(folder, "last")
        if (folder / "checkpoints").is_dir()
        else _last(_newest(folder.glob("*.ckpt")))
    )
    if last is None:
        raise CheckpointError(
            f"the folder {folder} holds no checkpoint: give a file, or the folder of a run, with --ckpt_path"
        )
    return last


def _newest(paths: Iterable[Path]) -> list[Path]:
    """Those that exist, the one written last first."""
    return sorted((path for path in paths if path.exists()), key=lambda path: path.stat().st_mtime_ns, reverse=True)


def _last(found: list[Path]) -> Path | None:
    return next((path for path in found if path.name.startswith("last")), found[0] if found else None)


def checkpoint_of_run(run: Path, which: str) -> Path | None:
    """The checkpoint `last` or `best` of the run in the folder `run`, whichever callbacks wrote it; None if there is none.

    `last` is what Lightning calls so, the newest file whose name starts with "last", and otherwise the newest one. `best` is
    that of the first ModelCheckpoint with a metric (`monitor`), as the newest checkpoint names it; it is looked for in this
    folder, also if the folder was moved. Without such a callback it is the last.

    Raises:
        CheckpointError: the newest checkpoint, which names the best one, cannot be read, or the best one is not there.
    """
    found = checkpoints_of_run(run)
    last = _last(found)
    if which == "last" or last is None:
        return last
    check_file(found[0])
    checkpoint = read_checkpoint(found[0], map_location="meta")
    check_content(checkpoint, found[0])
    states = [state for state in checkpoint.get("callbacks", {}).values() if isinstance(state, dict)]
    best = next((state for state in states if state.get("monitor") and state.get("best_model_path")), None)
    return last if best is None else _moved(best, run)


def _moved(state: dict[str, Any], run: Path) -> Path:
    """Where the best checkpoint of a ModelCheckpoint with this state lies now."""
    written = Path(state["best_model_path"])
    name = os.path.relpath(written, state["dirpath"]) if state.get("dirpath") else written.name
    here = run / "checkpoints" / name
    if not here.exists() and not written.exists():
        raise CheckpointError(
            f"the best checkpoint of {run} was {written}, and it is not there: give one with --ckpt_path"
        )
    return here if here.exists() else written


def checkpoint_fault(error: Exception, path: str) -> str | None:
    """What to say where `error` was raised because the checkpoint cannot be read or does not fit; None for another error."""
    if isinstance(error, CheckpointError):
        return str(error)
    missing = error.args[0] if isinstance(error, KeyError) and error.args else None
    restoring = any(frame.name in _RESTORING for frame in traceback.extract_tb(error.__traceback__))
    if missing is not None and restoring:
        return (
            f"the checkpoint {path} does not hold {missing!r}: another version of the code wrote it. Go on with that version, "
            "or start anew"
        )
    return _mismatch(error, path) or _unrestored(error, path)


def _unrestored(error: Exception, path: str) -> str | None:
    frames = traceback.extract_tb(error.__traceback__)
    if not any(frame.filename.endswith(_CONNECTOR) for frame in frames) or frames[-1].filename.startswith(_PACKAGE):
        return None  # the message of one of our own hooks is better
    reason = " ".join(str(error).split())[:200]
    return (
        f"the checkpoint {path} cannot be restored ({type(error).__name__}: {reason}): another version of the code or another "
        "model wrote it, or it is damaged. Use the config it was trained with (-c RUN), or another checkpoint"
    )


def _mismatch(error: Exception, path: str) -> str | None:
    text = str(error)
    if not isinstance(error, RuntimeError) or "loading state_dict for" not in text:
        return None
    tensors = _SIZE.findall(text)
    found = [f"{name} is ({saved}) in the checkpoint and ({there}) in the model" for name, saved, there in tensors]
    keys = [" ".join(line.split()) for line in text.splitlines() if "key(s) in state_dict" in line]
    found += [key if len(key) < 200 else f"{key[:200]}..." for key in keys]
    more = f" (and {len(found) - _SHOWN} more)" if len(found) > _SHOWN else ""
    return (
        f"the checkpoint {path} does not fit this model: {'; '.join(found[:_SHOWN])}{more}. "
        "Use the config it was trained with (-c RUN), or another checkpoint"
    )
