"""Where a setting was given: by an option, or in which line of which config."""

import re
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from discrete_lightning.cli.errors import MISUSE, CliError
from discrete_lightning.cli.guards.config_text import read_config, root_node

_OPTION = re.compile(r"--([^=\s]+?)\+?(=.*)?", re.DOTALL)


def place_of(key: str, request: Namespace) -> str:
    """` (given by --model.hidden)` or ` (line 7 of my.yaml)`; "" for a default.

    Args:
        key: dotted, with or without `init_args`; or the last part of it.
        request: see `entry.read_command`.
    """
    wanted = _short(key)
    for found, place in _given(request):
        if found == wanted or found.endswith(f".{wanted}"):
            return f" ({place})"
    return ""


def shown(path: Path) -> str:
    """A file, relative to the working directory where it lies below it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def check_keys_once(path: Path, text: str) -> None:
    """Raises CliError if a mapping in the YAML `text` of the file `path` has a key twice: YAML would drop the first."""
    lines: dict[str, int] = {}
    for key, line in _keys(root_node(text, "the config"), ""):
        if key in lines:
            raise CliError(f"{shown(path)}: {key} is there twice, in lines {lines[key]} and {line}: keep one", MISUSE)
        lines[key] = line


def _given(request: Namespace) -> Iterator[tuple[str, str]]:
    """Keys and places, the one that wins first."""
    for argument in reversed(request.args):
        if found := _OPTION.fullmatch(argument):
            yield _short(found[1]), f"given by --{found[1]}"
    for source in reversed(request.sources):
        text = read_config(source.path, shown(source.path))
        for key, line in _keys(root_node(text, "the config"), ""):
            yield _short(key), f"line {line} of {shown(source.path)}"


def _keys(node: Any, prefix: str, above: tuple[Any, ...] = ()) -> Iterator[tuple[str, int]]:
    if node in above:  # an alias of what it is in
        return
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = f"{prefix}{key.value}"
            if key.value != "<<":
                yield name, key.start_mark.line + 1
            yield from _keys(value, f"{name}.", (*above, node))
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            yield from _keys(value, f"{prefix}{i}.", (*above, node))


def _short(key: str) -> str:
    parts: Sequence[str] = key.split(".")
    return ".".join(part for part in parts if part != "init_args")


def given_keys(request: Namespace) -> list[str]:
    """The keys that the configs set, without `init_args`."""
    texts = [read_config(source.path, shown(source.path)) for source in request.sources]
    return [_short(key) for text in texts for key, _ in _keys(root_node(text, "the config"), "")]
