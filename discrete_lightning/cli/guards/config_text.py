"""The text of a config: read with bounds, since a few lines of YAML can unfold to more than any memory holds."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from discrete_lightning.cli.errors import MISUSE, CliError, one_line

LARGEST = 200_000  # bytes; the largest config of the package has 3,000
MOST = 20_000  # keys and values, when anchors have been put in the places of their aliases
DEEPEST = 60
_SHORT = 40


def read_config(path: Path, name: str) -> str:
    """The text of a config.

    Args:
        path: of the file.
        name: of it, in messages.

    Raises:
        CliError: it cannot be read, is too large, or is no text in UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        check_size(data, name)
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CliError(f"{name} is not a YAML file: it is no text in UTF-8 ({one_line(error)})", MISUSE) from None
    except OSError as error:
        raise CliError(f"{name} cannot be read: {error.strerror}") from None


def check_size(text: str | bytes, name: str) -> None:
    """Raises CliError if the text is larger than a config can be."""
    if len(text) > LARGEST:
        raise CliError(
            f"{name} is no config: it has more than {LARGEST:,} bytes; data belong into files of their own", MISUSE
        )


def root_node(text: str, name: str) -> Any:
    """The root of the YAML `text`, None if there is nothing in it.

    Raises:
        CliError: it is not YAML, nested more than 60 deep, an anchor is inside itself, or aliases unfold to more than 20,000
            keys and values.
    """
    import yaml  # type: ignore[import-untyped]  # `ls` and `cp` do without

    check_size(text, name)
    try:
        node = _composed(text)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise CliError(f"{name}{line}: this is not YAML: {error.problem}", MISUSE) from None
    except yaml.YAMLError as error:
        raise CliError(f"{name} is not a YAML file: {one_line(error)}", MISUSE) from None
    except RecursionError:
        raise _too_deep(name) from None
    if node is not None and _unfolded(node, name, (), {}) > MOST:
        raise CliError(
            f"{name}: its aliases unfold to more than {MOST:,} keys and values: write out what is meant", MISUSE
        )
    return node


def check_text(text: str) -> None:
    """What the parser is given, a config or a value: raises CliError as `root_node` does, unless it is not YAML."""
    check_size(text, "a file that the config names")
    if len(text) > _SHORT and ("\n" in text or "*" in text or _looks_deep(text)):
        try:
            root_node(text, "a file that the config names")
        except CliError as error:
            if "not YAML" not in str(error) and "not a YAML" not in str(error):  # the parser may take it as a text
                raise


def _looks_deep(text: str) -> bool:
    return text.count("[") > DEEPEST or text.count("{") > DEEPEST


@lru_cache(8)
def _composed(text: str) -> Any:
    import yaml

    return yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _unfolded(node: Any, name: str, above: tuple[int, ...], known: dict[int, int]) -> int:
    """The number of nodes below and with this one, where an alias counts as what it stands for."""
    if id(node) in above:
        raise CliError(f"{name}, line {node.start_mark.line + 1}: an anchor stands for something that it is in", MISUSE)
    if len(above) > DEEPEST:
        raise _too_deep(name)
    if id(node) not in known:
        inside = node.value if isinstance(node.value, list) else []
        children = [child for each in inside for child in (each if isinstance(each, tuple) else (each,))]
        known[id(node)] = 1 + sum(_unfolded(child, name, (*above, id(node)), known) for child in children)
    return known[id(node)]


def _too_deep(name: str) -> CliError:
    return CliError(f"{name} is no config: it is nested more than {DEEPEST} deep", MISUSE)
