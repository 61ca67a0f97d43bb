"""One-line messages for errors that users can correct. Every other error is a bug and keeps its traceback."""

import inspect
import re
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import Logger

from discrete_lightning.cli.configs import Source
from discrete_lightning.cli.errors import MISUSE, CliError, did_you_mean, one_line
from discrete_lightning.cli.trust import not_trusted
from discrete_lightning.data.errors import DataError
from discrete_lightning.training.checkpoints import checkpoint_fault

_OWNERS = (LightningModule, LightningDataModule, Callback, Logger, Trainer)
_USERS = (ValueError, TypeError, OSError, ImportError, MisconfigurationException)
_GROUPS = {"trainer": "Trainer", "temperature": "TemperatureAnnealing"}
_PACKAGE = str(Path(__file__).resolve().parents[1])
# Lines of jsonargparse that say how it tried, not what is wrong.
_TRIALS = re.compile(
    r"^\s*(- )?(Does not validate against any of the Union subtypes|Subtypes: .*|Errors:|Given value( type)?: .*"
    r"|Expected a <class 'NoneType'>.*|Expected a path but .* either not accessible or invalid)\s*$"
)
_DENIED = re.compile(r"Importing '([^']+)' is not allowed")
_IN_CLASS = re.compile(r"(?s)given class_path '([^']+)':(?!.*given class_path).*?Option '([^']+)' is not accepted")
_NO_OPTION = re.compile(r"(?:does not accept option '|Option '|unrecognized arguments: --)([^'=\s]+)")
_NO_CLASS = re.compile(r"Expected a dot import path string: (\S+)")
_REQUIRED_IN = re.compile(r"given class_path '([^']+)':\s*the following arguments are required: ([^\n]*)")
_REQUIRED = re.compile(r"the following arguments are required: (.*)")


def parsing_error(text: str, command: str, options: Iterable[str], sources: Iterable[Source]) -> CliError:
    """The error for a message of jsonargparse, from a command, the names of all its options, and the configs given."""
    if found := _DENIED.search(text):
        name = found[1].rpartition(".")[2]
        places = [str(each.path) for each in sources if name in each.path.read_text(encoding="utf-8", errors="replace")]
        return not_trusted(found[1], f"in {places[-1]}" if places else "on the command line")
    keys = re.findall(r'Parser key "([^"]+)"', text)
    if found := _REQUIRED_IN.search(text):
        names = [name.strip() for name in found[2].split(",")]
        settings = ", ".join(".".join([*keys, name]) for name in names)
        return CliError(f"{found[1].rpartition('.')[2]} needs {', '.join(names)}: set {settings}", MISUSE)
    if found := _REQUIRED.search(text):
        missing = found[1].replace(f"{command}.", "")
        return CliError(f"nothing says which {missing} to use: give a config with -c (`discrete-lightning ls`)", MISUSE)
    if found := _IN_CLASS.search(text):
        return _unknown(found[2], found[1].rpartition(".")[2], _parameters(found[1]))
    if found := _NO_CLASS.search(text):
        hint = did_you_mean(found[1], _class_names())
        own = "a class of your own needs its full path and --trust"
        return CliError(f"{'.'.join(keys)}: there is no class {found[1]!r}{hint} ({own})", MISUSE)
    if found := _NO_OPTION.search(text):
        option = found[1].removesuffix("+")
        return _unknown(option, _GROUPS.get(option.partition(".")[0], f"`{command}`"), list(options))
    lines = [line.strip().removeprefix("- ") for line in text.splitlines() if line.strip() and not _TRIALS.match(line)]
    message = one_line(" ".join(lines)).replace("Problem with given class_path ", "")
    message = re.sub(r'Parser key "([^"]+)":', r"\1:", message)
    return CliError(re.sub(r"<class '([^']+)'>", r"\1", message), MISUSE)


def building_error(built: type, error: Exception) -> CliError | None:
    """The error for `error` raised while `built` was constructed from a config, or None for a bug."""
    if isinstance(error, CliError):
        return error
    return _named(built.__name__, error) if isinstance(error, _USERS) else None


def running_error(error: Exception, started: bool, checkpoint: str | None) -> CliError | None:
    """The error for `error` raised while the trainer ran, or None for a bug.

    Before data went through the model (`started`), errors of values, types and files are due to the config. After that they
    are due to the code, unless this package or the system raised them. `checkpoint` is the one to load, or None.
    """
    if isinstance(error, CliError):
        return error
    if not started and checkpoint is not None and (message := checkpoint_fault(error, checkpoint)):
        return CliError(message)
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    always = isinstance(error, (OSError, MisconfigurationException, DataError))
    raised_here = isinstance(error, ValueError) and files[-1].startswith(_PACKAGE)
    if not (always or raised_here or (not started and isinstance(error, _USERS))):
        return None
    owner = ""  # the class of the config in whose method the error was raised
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if isinstance(instance := frame.f_locals.get("self"), _OWNERS):
            owner = type(instance).__name__
    return _named(owner, error)


def system_message(error: OSError) -> str:
    """What the system refused, and of which file."""
    return one_line(": ".join(str(part) for part in (error.strerror, error.filename) if part) or error)


def _named(owner: str, error: Exception) -> CliError:
    message = system_message(error) if isinstance(error, OSError) else one_line(error) or type(error).__name__
    # The callback cannot know that it is a group of options here.
    hint = " (on the command line: --temperature.schedule null)" if owner == "TemperatureAnnealing" else ""
    return CliError((message if message.startswith(owner) else f"{owner}: {message}") + hint)


def _unknown(option: str, owner: str, known: list[str]) -> CliError:
    hint = did_you_mean(option, known, show=repr) or (f"; it has {', '.join(known)}" if 0 < len(known) <= 20 else "")
    return CliError(f"{owner} has no option {option!r}{hint}", MISUSE)


def _parameters(path: str) -> list[str]:
    """Names of the constructor's parameters of the class at `path`. Imports nothing."""
    module, _, name = path.rpartition(".")
    found = vars(sys.modules[module]).get(name) if module in sys.modules else None
    return list(inspect.signature(found).parameters) if inspect.isclass(found) else []


def _class_names() -> set[str]:
    """Short names that configs can use: Lightning's and this package's classes, and what extends them."""
    modules = [
        content for name, content in list(sys.modules.items()) if name.startswith("discrete_lightning.") and content
    ]
    names = {
        name for each in modules for name, value in vars(each).items() if inspect.isclass(value) and name[0] != "_"
    }
    pending: list[type] = [Callback, LightningDataModule, LightningModule, Logger]
    while pending:
        children: list[type] = pending.pop().__subclasses__()
        names.update(each.__name__ for each in children)
        pending.extend(children)
    return names
