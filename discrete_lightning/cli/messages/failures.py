"""Errors while a model is built or a trainer runs: one line where the user can correct them. Every other error is a bug and
keeps its traceback."""

import errno
import re
import traceback
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.loggers import Logger

from discrete_lightning.cli.errors import CliError, one_line
from discrete_lightning.cli.messages.arguments import argument_place
from discrete_lightning.cli.messages.layer_faults import layer_fault
from discrete_lightning.cli.messages.user_code import raised_by_lightning, raised_by_user, user_frames
from discrete_lightning.data.errors import DataError
from discrete_lightning.protocols import OutsideFault
from discrete_lightning.training.checkpoints import checkpoint_fault
from discrete_lightning.training.launched import LostProcess

_OWNERS = (LightningModule, LightningDataModule, Callback, Logger)
_USERS = (ValueError, TypeError, OSError, ImportError, MisconfigurationException)
_PACKAGE = str(Path(__file__).resolve().parents[2])
_NO_MEMORY = re.compile(r"(allocate memory|not enough memory|out of memory)", re.IGNORECASE)


def building_error(built: type, error: Exception, config: Any, request: Namespace) -> CliError | None:
    """The error for `error` raised while `built` was constructed from a config, or None for a bug.

    Args:
        built: the class.
        error: of its constructor.
        config: the parsed config of the command.
        request: see `entry.read_command`.
    """
    if isinstance(error, CliError):
        return error
    if _NO_MEMORY.search(str(error)):
        return _no_memory(error)
    place = argument_place(built.__name__, str(error), config, request)
    if isinstance(error, _USERS) and (raised_by_user(error) or not user_frames(error)):
        return _named(_owner(built), error, place)
    return _of_user(error)


def running_error(
    error: Exception, started: bool, checkpoint: str | None, model: LightningModule, config: Any, request: Namespace
) -> CliError | None:
    """The error for `error` raised while the trainer ran, or None for a bug.

    Before data went through the model (`started`), errors of values, types and files are due to the config. After that they
    are due to the code, unless this package or the system raised them, or the data do not fit a layer.

    Args:
        error: what was raised.
        started: whether data went through the model.
        checkpoint: the one to load, or None.
        model: that runs.
        config: the parsed config of the command.
        request: see `entry.read_command`.
    """
    if isinstance(error, CliError):
        return error
    if isinstance(error, OutsideFault | LostProcess):
        return CliError(str(error), frames=getattr(error, "frames", ""))
    if not started and checkpoint is not None and (message := checkpoint_fault(error, checkpoint)):
        return CliError(message)
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or _NO_MEMORY.search(str(error)):
        return _no_memory(error)
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, ValueError) and files[-1].startswith(_PACKAGE):
        return _named(_running_owner(error), error)
    if raised_by_user(error) and not started and isinstance(error, _USERS):
        return _named(_running_owner(error), error)
    if user_frames(error):
        return _of_user(error)
    if message := layer_fault(error, model):
        return CliError(message)
    if raised_by_lightning(error):
        return _named("", error, argument_place("Trainer", str(error), config, request))
    if isinstance(error, (OSError, MisconfigurationException, DataError)) or (
        not started and isinstance(error, _USERS)
    ):
        return _named(_running_owner(error), error)
    return None


def system_message(error: OSError) -> str:
    """What the system refused, and of which file."""
    frames = traceback.extract_tb(error.__traceback__)
    if any("multiprocessing" in Path(frame.filename).parts for frame in frames) and not error.filename:
        return f"worker processes need shared memory, /dev/shm ({error.strerror or error}): take --data.num_workers 0"
    message = one_line(": ".join(str(part) for part in (error.strerror, error.filename) if part) or error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        message += "; what was written before is kept: make room, or give --run_root a folder on another file system"
    return message


def _of_user(error: Exception) -> CliError | None:
    """The error for one of a user's own code, with their lines; None where no code of theirs ran."""
    if not (frames := user_frames(error)):
        return None
    shown = "".join(traceback.format_list(frames)).rstrip()
    text = one_line(error)
    kind = type(error).__name__
    return CliError(
        f"{kind}: {text} (in your code, above; --traceback shows all of it)" if text else kind, frames=shown
    )


def _named(owner: str, error: Exception, place: str = "") -> CliError:
    message = system_message(error) if isinstance(error, OSError) else one_line(error) or type(error).__name__
    # The callback cannot know that it is a group of options here.
    hint = " (on the command line: --temperature.schedule null)" if owner == "TemperatureAnnealing" else ""
    named = message if not owner or message.startswith(owner) else f"{owner}: {message}"
    return CliError(named + place + hint)


def _owner(built: type) -> str:
    """The name of a class that a config names; users know no other."""
    return "" if built.__module__.startswith("lightning.") or built.__module__.endswith("cli.app") else built.__name__


def _running_owner(error: Exception) -> str:
    """The class of the config in whose method the error was raised."""
    owner = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if isinstance(instance := frame.f_locals.get("self"), _OWNERS):
            owner = _owner(type(instance))
    return owner


def _no_memory(error: Exception) -> CliError:
    tried = re.search(r"tried to allocate [\d.]+ \w+", str(error), re.IGNORECASE)
    asked = f" ({tried[0].lower()})" if tried else ""
    return CliError(f"not enough memory{asked}: take a smaller batch (--data.batch_size) or a smaller model")
