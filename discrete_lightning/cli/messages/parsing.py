"""One-line messages for command lines and configs that jsonargparse cannot understand."""

import inspect
import re
import sys
from argparse import Namespace
from collections.abc import Iterable

from discrete_lightning.cli.errors import MISUSE, CliError, did_you_mean, one_line
from discrete_lightning.cli.guards.trust import not_trusted
from discrete_lightning.cli.messages.class_names import class_hint
from discrete_lightning.cli.messages.places import given_keys, place_of, shown

# Lines of jsonargparse that say how it tried, not what is wrong.
_TRIALS = re.compile(
    r"^\s*(- )?(Does not validate against any of the Union subtypes|Subtypes: .*|Errors:|Given value( type)?: .*"
    r"|Expected a <class 'NoneType'>.*|Expected a path but .* either not accessible or invalid)\s*$"
)
_DENIED = re.compile(r"Importing '([^']+)' is not allowed")
_IN_CLASS = re.compile(r"(?s)given class_path '([^']+)':(?!.*given class_path).*?Option '([^']+)' is not accepted")
_NO_OPTION = re.compile(r"(?:does not accept option '|Option '|unrecognized arguments: --)([^'=\s]+)")
_NO_ARGUMENT = re.compile(r"unrecognized arguments: ([^-\s]\S*)")
_NO_CLASS = re.compile(r"Expected a dot import path string: (\S+)")
_NO_MEMBER = re.compile(r"module '([^']+)' has no attribute '([^']+)'")
_NO_VALUE = re.compile(r"argument (--\S+): expected one argument")
_NO_GROUP = re.compile(r"Unable to load config '([^']*)'")
_REQUIRED_IN = re.compile(r"given class_path '([^']+)':\s*the following arguments are required: ([^\n]*)")
_REQUIRED = re.compile(r"the following arguments are required: (.*)")
_EXPECTED = re.compile(r"Expected a (.+?)(?:\. Got value: (.*))?$")
_TYPES = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}


def parsing_error(text: str, command: str, options: Iterable[str], request: Namespace) -> CliError:
    """The error for a message of jsonargparse, from a command, the names of all its options, and what was given.

    Args:
        text: of jsonargparse.
        command: "fit", "test", ...
        options: the names of all its options.
        request: see `entry.read_command`.
    """
    if found := _DENIED.search(text):
        name, sources = found[1].rpartition(".")[2], request.sources
        places = [
            shown(each.path) for each in sources if name in each.path.read_text(encoding="utf-8", errors="replace")
        ]
        return not_trusted(found[1], f"in {places[-1]}" if places else "on the command line")
    keys = list(dict.fromkeys(re.findall(r'Parser key "([^"]+)"', text)))
    key = ".".join(keys)
    return CliError(_message(text, key, command, list(options), request), MISUSE)


def _message(text: str, key: str, command: str, options: list[str], request: Namespace) -> str:
    if found := _REQUIRED_IN.search(text):
        names = [name.strip() for name in found[2].split(",")]
        settings = ", ".join(f"{key}.{name}" for name in names)
        return f"{found[1].rpartition('.')[2]} needs {', '.join(names)}: set {settings}"
    if found := _REQUIRED.search(text):
        missing = found[1].replace(f"{command}.", "")
        return f"nothing says which {missing} to use: give a config with -c (`discrete-lightning ls`)"
    if found := _NO_VALUE.search(text):
        option = next(
            (each for each in reversed(request.args) if each.startswith(found[1]) and "=" not in each), found[1]
        )
        return f"{option} needs a value: {option}=VALUE"
    if found := _NO_GROUP.search(text):
        value = found[1]
        first = next((option for option in options if option.startswith(f"{key}.")), f"{key}.option")
        off = " (--temperature.schedule null leaves the annealing out)" if key == "temperature" else ""
        return f"{key} is a group of options, not {value}: set one of them, such as --{first}{off}"
    if wrong := _expected(text):
        expected, value = wrong
        return f"{key} must be {expected}, got {value}{place_of(key, request)}"
    if found := _IN_CLASS.search(text):
        return _unknown(found[2], found[1].rpartition(".")[2], _parameters(found[1]), request)
    if found := _NO_CLASS.search(text):
        return f"{key}: {class_hint(found[1], key)}{place_of(key, request)}"
    if found := _NO_MEMBER.search(text):
        members = dir(sys.modules[found[1]]) if found[1] in sys.modules else []
        return f"{key}: {found[1]} has no {found[2]!r}{did_you_mean(found[2], members)}{place_of(key, request)}"
    if found := _NO_ARGUMENT.search(text):
        return f"{found[1]!r} is no option: options begin with --, and a config is given with -c {found[1]}"
    if found := _NO_OPTION.search(text):
        return _no_option(found[1].removesuffix("+"), options, request)
    lines = [line.strip().removeprefix("- ") for line in text.splitlines() if line.strip() and not _TRIALS.match(line)]
    message = one_line(" ".join(lines)).replace("Problem with given class_path ", "")
    message = re.sub(r'Parser key "([^"]+)":', r"\1:", message)
    return re.sub(r"<class '([^']+)'>", r"\1", message) + (place_of(key, request) if key else "")


def _expected(text: str) -> tuple[str, str] | None:
    """What a value should have been, and what it was; None where the type is not what is wrong."""
    kinds, value = [], ""
    for line in (line.strip().removeprefix("- ") for line in text.splitlines()):
        if line.startswith(("Parser key ", "Problem with given class_path ")) or not line or _TRIALS.match(line):
            if line.startswith("Given value: ") and not value:
                value = line.removeprefix("Given value: ")
        elif (found := _EXPECTED.match(line)) and "dot import path" not in line:
            kinds.append(_kind(found[1]))
            value = found[2] or value
        elif not re.match(r"Option '[^']+' is not accepted", line):
            return None
    return (" or ".join(dict.fromkeys(kinds)), value) if kinds else None


def _kind(name: str) -> str:
    """A type as jsonargparse writes it, in words."""
    if found := re.match(r"typing\.Literal\[(.*)\]", name):
        return f"one of {found[1]}"
    if found := re.match(r"tuple with (\d+) elements", name):
        return f"a list of {found[1]}"
    name = re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", name)
    return _TYPES.get(name, "a list" if name in ("Sequence", "Iterable", "list") else f"a {name}")


def _no_option(option: str, options: list[str], request: Namespace) -> str:
    group, _, rest = option.partition(".")
    known = [*options, *(f"{name}.{rest}" for name in ("model", "data") if rest), *given_keys(request)]
    known = [name for name in known if name != option]
    same_end = [name for name in known if name.endswith(f".{option}")]
    hint = f"; did you mean {same_end[0]!r}?" if same_end else did_you_mean(option, known, show=repr)
    owner = f"`{request.name}`" if group not in ("trainer", "temperature", "wandb") else f"the group {group}"
    return f"{owner} has no option {option!r}{hint}{place_of(option, request)}"


def _unknown(option: str, owner: str, known: list[str], request: Namespace) -> str:
    hint = did_you_mean(option, known, show=repr) or (f"; it has {', '.join(known)}" if 0 < len(known) <= 20 else "")
    return f"{owner} has no option {option!r}{hint}{place_of(option, request)}"


def _parameters(path: str) -> list[str]:
    """Names of the constructor's parameters of the class at `path`. Imports nothing."""
    module, _, name = path.rpartition(".")
    found = vars(sys.modules[module]).get(name) if module in sys.modules else None
    return list(inspect.signature(found).parameters) if inspect.isclass(found) else []
