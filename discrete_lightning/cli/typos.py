"""jsonargparse's answers to a wrong option, as one line that names the option, the class and the closest valid name."""

import difflib
import inspect
import re
import sys
from collections.abc import Iterable

from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.loggers import Logger

from discrete_lightning.cli.errors import MISUSE, CliError, one_line
from discrete_lightning.cli.trust import not_trusted

_GROUPS = {"trainer": "Trainer", "temperature": "TemperatureAnnealing"}
# Lines that say how jsonargparse tried, not what is wrong.
_CHATTER = re.compile(
    r"^\s*(- )?(Does not validate against any of the Union subtypes|Subtypes: .*|Errors:|Given value( type)?: .*"
    r"|Expected a <class 'NoneType'>.*|Expected a path but .* either not accessible or invalid)\s*$"
)
_DENIED = re.compile(r"Importing '([^']+)' is not allowed")
_IN_CLASS = re.compile(r"(?s)given class_path '([^']+)':(?!.*given class_path).*?Option '([^']+)' is not accepted")
_NO_OPTION = re.compile(r"(?:does not accept option '|Option '|unrecognized arguments: --)([^'=\s]+)")
_NO_CLASS = re.compile(r"Expected a dot import path string: (\S+)")
_REQUIRED_IN = re.compile(r"given class_path '([^']+)':\s*the following arguments are required: ([^\n]*)")
_REQUIRED = re.compile(r"the following arguments are required: (.*)")


def explain_parsing(text: str, command: str, options: Iterable[str]) -> CliError:
    """The error for a message of jsonargparse.

    Args:
        text: the message, of any number of lines.
        command: the sub-command that was parsed.
        options: names of all options of the sub-command, such as `trainer.max_epochs`.
    """
    if denied := _DENIED.search(text):
        return not_trusted(denied[1], "named by the config or the command line")
    if required := _REQUIRED_IN.search(text):
        path = ".".join(re.findall(r'Parser key "([^"]+)"', text[: required.start()]))
        names = [name.strip() for name in required[2].split(",")]
        settings = ", ".join(f"{path}.{name}" if path else name for name in names)
        return CliError(f"{required[1].rpartition('.')[2]} needs {', '.join(names)}: set {settings}", MISUSE)
    if required := _REQUIRED.search(text):
        missing = required[1].replace(f"{command}.", "")
        return CliError(f"nothing says which {missing} to use: give a config with -c (`discrete-lightning ls`)", MISUSE)
    if in_class := _IN_CLASS.search(text):
        path, option = in_class.groups()
        return _unknown(option, path.rpartition(".")[2], _parameters(path))
    if no_class := _NO_CLASS.search(text):
        return _unknown_class(no_class[1], text)
    if no_option := _NO_OPTION.search(text):
        option = no_option[1].removesuffix("+")
        return _unknown(option, _GROUPS.get(option.partition(".")[0], f"`{command}`"), list(options))
    lines = [line.strip().removeprefix("- ") for line in text.splitlines() if line.strip() and not _CHATTER.match(line)]
    message = one_line(" ".join(lines)).replace("Problem with given class_path ", "")
    message = re.sub(r'Parser key "([^"]+)":', r"\1:", message)
    return CliError(re.sub(r"<class '([^']+)'>", r"\1", message), MISUSE)


def _unknown(option: str, owner: str, known: list[str]) -> CliError:
    close = difflib.get_close_matches(option, known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(known)}" if 0 < len(known) <= 20 else ""
    return CliError(f"{owner} has no option {option!r}{hint}", MISUSE)


def _unknown_class(name: str, text: str) -> CliError:
    where = re.findall(r'Parser key "([^"]+)"', text)
    close = difflib.get_close_matches(name, _class_names(), n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]}?" if close else ""
    own = "a class of your own needs its full path and --trust"
    return CliError(f"{'.'.join(where)}: there is no class {name!r}{hint} ({own})", MISUSE)


def _parameters(path: str) -> list[str]:
    """Names of the constructor's parameters of the class at `path`, its bases' included. Imports nothing."""
    module, _, name = path.rpartition(".")
    found = getattr(sys.modules.get(module), name, None)
    names: dict[str, None] = {}
    for base in getattr(found, "__mro__", ()):
        init = vars(base).get("__init__")
        if inspect.isfunction(init):
            parameters = list(inspect.signature(init).parameters.values())[1:]
            named = [each for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
            names.update({each.name: None for each in named})
    return list(names)


def _class_names() -> set[str]:
    """Short names that configs can use: Lightning's and this package's classes, and what extends them."""
    names: set[str] = set()
    for module, content in list(sys.modules.items()):
        if module.startswith("discrete_lightning.") and content is not None:
            names.update(name for name, value in vars(content).items() if inspect.isclass(value) and name[0] != "_")
    pending: list[type] = [Callback, LightningDataModule, LightningModule, Logger]
    while pending:
        children: list[type] = pending.pop().__subclasses__()
        names.update(each.__name__ for each in children)
        pending.extend(children)
    return names
