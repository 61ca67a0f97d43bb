"""Which exceptions are a user's to mend, and what they are told. Everything else is a bug and keeps its traceback."""

import inspect
import pickle
import traceback
from pathlib import Path

import torch.serialization
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import Logger

from discrete_lightning.cli.checkpoints import mismatch, unreadable
from discrete_lightning.cli.errors import CliError, one_line

_OWNERS = (LightningModule, LightningDataModule, Callback, Logger, Trainer)
_PACKAGE = str(Path(__file__).resolve().parents[1])
_TORCH_LOAD = inspect.getfile(torch.serialization)
_CHECKPOINT_KEYS = ("state_dict", "pytorch-lightning_version")
_USERS = (ValueError, TypeError, OSError, ImportError, MisconfigurationException)


def explain_building(built: type, error: Exception) -> CliError | None:
    """The error for `error` raised while `built` was constructed from a config, or None for a bug."""
    if isinstance(error, CliError):
        return error
    return _named(built.__name__, error) if isinstance(error, _USERS) else None


def explain_running(error: Exception, started: bool, checkpoint: str | None) -> CliError | None:
    """The error for `error` raised while the trainer ran, or None for a bug.

    Args:
        error: what was raised.
        started: whether data went through the model. Before that, values, types and files are the config's; after it
            they are the code's, unless this package itself raised the error or the system refused something.
        checkpoint: the checkpoint that was to be loaded.
    """
    if isinstance(error, CliError):
        return error
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    if not started and checkpoint is not None:
        if isinstance(error, RuntimeError) and (found := mismatch(error, checkpoint)):
            return found
        missing = error.args[0] if isinstance(error, KeyError) and error.args else None
        if _TORCH_LOAD in files or isinstance(error, pickle.UnpicklingError) or missing in _CHECKPOINT_KEYS:
            return unreadable(error, checkpoint)
    always = isinstance(error, (OSError, MisconfigurationException))
    raised_here = isinstance(error, ValueError) and files[-1].startswith(_PACKAGE)
    if not (always or raised_here or (not started and isinstance(error, _USERS))):
        return None
    return _named(_owner(error), error)


def _named(owner: str, error: Exception) -> CliError:
    if isinstance(error, OSError) and error.strerror:
        message = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    else:
        message = one_line(error) or type(error).__name__
    # The callback cannot know that it is a group of options here.
    hint = " (on the command line: --temperature.schedule null)" if owner == "TemperatureAnnealing" else ""
    return CliError((message if message.startswith(owner) else f"{owner}: {message}") + hint)


def _owner(error: Exception) -> str:
    """Name of the class of the config in whose method `error` was raised, if it was in one."""
    name = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        instance = frame.f_locals.get("self")
        if isinstance(instance, _OWNERS):
            name = type(instance).__name__
    return name
