"""Checkpoints of a run's folder, and what to say of one that does not fit."""

import inspect
import pickle
import re
import traceback
from pathlib import Path

import torch
import torch.serialization

_SIZE = re.compile(
    r"size mismatch for (\S+): copying a param with shape torch\.Size\(\[(.*?)\]\) from checkpoint, "
    r"the shape in current model is torch\.Size\(\[(.*?)\]\)"
)
_SHOWN = 3
_RESTORING = (
    "load_state_dict",
    "set_extra_state",
    "on_load_checkpoint",
)  # where modules and callbacks read their state


def checkpoint_of_run(run: Path, which: str) -> Path:
    """The checkpoint `last` or `best` of the run in the folder `run`; it need not be there.

    The last checkpoint names the best one, which is looked for in this folder, also if the folder was moved.
    """
    last = run / "checkpoints" / "last.ckpt"
    if which == "last" or not last.is_file():
        return last
    callbacks = torch.load(last, map_location="cpu", weights_only=True).get("callbacks", {})
    paths = [state.get("best_model_path") for state in callbacks.values() if isinstance(state, dict)]
    best = next((path for path in paths if path), last)
    return last.with_name(Path(best).name)


def checkpoint_fault(error: Exception, path: str) -> str | None:
    """What to say where `error` was raised because the checkpoint cannot be read or does not fit; None for another error."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    missing = error.args[0] if isinstance(error, KeyError) and error.args else None
    reading = inspect.getfile(torch.serialization) in files or isinstance(error, pickle.UnpicklingError)
    if reading or missing in ("state_dict", "pytorch-lightning_version"):
        return (
            f"the checkpoint {path} cannot be read: {' '.join(str(error).split()).partition('. ')[0]}. Checkpoints are read "
            "without running code (weights_only): give one that discrete-lightning or Lightning wrote, with plain values as "
            "hyper-parameters"
        )
    restoring = any(frame.name in _RESTORING for frame in traceback.extract_tb(error.__traceback__))
    if missing is not None and restoring:
        return (
            f"the checkpoint {path} does not hold {missing!r}: another version of the code wrote it. Go on with that version, "
            "or start anew"
        )
    return _mismatch(error, path)


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
