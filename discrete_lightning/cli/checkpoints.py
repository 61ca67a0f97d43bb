"""Which checkpoint a command means, and what to say when it does not fit."""

import re
from pathlib import Path

import torch

from discrete_lightning.cli.errors import CliError, one_line
from discrete_lightning.cli.invocation import Invocation
from discrete_lightning.cli.sources import CHECKPOINTS

LAST = "last.ckpt"
_SIZE = re.compile(
    r"size mismatch for (\S+): copying a param with shape torch\.Size\(\[(.*?)\]\) from checkpoint, "
    r"the shape in current model is torch\.Size\(\[(.*?)\]\)"
)
_SHOWN = 3


def select_checkpoint(invocation: Invocation) -> str | None:
    """The checkpoint to load: what `--ckpt_path` means, or else the last one of the run to be evaluated.

    Raises:
        CliError: the checkpoint is not there; the message lists those that are.
    """
    given, run = invocation.ckpt_path, invocation.run
    if given is None:
        evaluates_run = invocation.command in ("validate", "test", "predict", "decode") and run is not None
        given = "last" if evaluates_run else None
    if given is None or given in ("null", "hpc") or given.startswith("registry") or "://" in given:
        return given
    if given in ("last", "best"):
        if run is None:
            raise CliError(f"--ckpt_path {given} is the {given} checkpoint of a run, and -c names no run folder")
        path = run / CHECKPOINTS / LAST
        if given == "best" and path.is_file():
            path = _best(path)
    else:
        path = Path(given)
    if not path.exists():
        there = sorted(found.name for found in path.parent.glob("*.ckpt"))
        hint = f"that folder holds {', '.join(there)}" if there else "that folder holds no checkpoint"
        raise CliError(f"there is no checkpoint {path}: {hint}; give one with --ckpt_path")
    return str(path.resolve())


def _best(last: Path) -> Path:
    """The best checkpoint by what the last one remembers, in the run's folder even if that was moved since."""
    callbacks = torch.load(last, map_location="cpu", weights_only=True).get("callbacks", {})
    paths = [state.get("best_model_path") for state in callbacks.values() if isinstance(state, dict)]
    best = next((path for path in paths if path), last)
    return last.with_name(Path(best).name)


def mismatch(error: RuntimeError, path: str | None) -> CliError | None:
    """The error for weights that do not fit the model, or None if `error` is something else."""
    text = str(error)
    if "loading state_dict for" not in text:
        return None
    tensors = _SIZE.findall(text)
    sizes = [f"{name} is ({theirs}) in the checkpoint and ({ours}) in the model" for name, theirs, ours in tensors]
    keys = [one_line(line) for line in text.splitlines() if "key(s) in state_dict" in line]
    found = sizes + [key if len(key) < 200 else f"{key[:200]}..." for key in keys]
    more = f" (and {len(found) - _SHOWN} more)" if len(found) > _SHOWN else ""
    return CliError(
        f"the checkpoint {path} does not fit this model: {'; '.join(found[:_SHOWN])}{more}. "
        "Use the config it was trained with (-c RUN), or another checkpoint"
    )


def unreadable(error: Exception, path: str | None) -> CliError:
    """The error for a file that is no checkpoint, or one that holds more than tensors and plain values."""
    reason = one_line(error).partition(". ")[0]
    return CliError(
        f"the checkpoint {path} cannot be read: {reason}. Checkpoints are read without running code (weights_only): "
        "give one that discrete-lightning or Lightning wrote, with plain values as hyper-parameters"
    )
