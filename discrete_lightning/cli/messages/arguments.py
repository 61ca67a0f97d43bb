"""The argument of a config that a constructor's message is about."""

import re
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from discrete_lightning.cli.messages.places import place_of

_GROUPS = {"trainer": "Trainer", "temperature": "TemperatureAnnealing", "wandb": "WandbOptions"}


def argument_place(class_name: str, message: str, config: Any, request: Namespace) -> str:
    """Where the argument of `class_name` that `message` names was given, as `place_of` writes it; "" where that is not known.

    Without a name in it, a message means the one argument that has the value in it ("got 0.5").
    """
    every = list(_arguments(config, "", ""))
    # a dataclass in a config has no class_path
    arguments = [(key, value) for key, owner, value in every if owner == class_name] or [
        (key, value) for key, _, value in every
    ]
    words = set(re.findall(r"\w+", message))
    named = [key for key, _ in arguments if key.rpartition(".")[2] in words]
    got = re.search(r"got (\S+?)[,:;]?(\s|$)", message)
    quoted = {got[1]} if got else words
    meant = named or [key for key, value in arguments if str(value) in quoted]
    places = {place: None for key in meant if (place := place_of(key, request))}
    return next(iter(places)) if len(places) == 1 else ""


def _arguments(node: Any, prefix: str, owner: str) -> Iterator[tuple[str, str, Any]]:
    """Key, name of the class and value of every argument."""
    if isinstance(node, list):
        for i, value in enumerate(node):
            yield from _arguments(value, f"{prefix}{i}.", owner)
    elif hasattr(node, "__dict__"):
        entries = vars(node)
        owner = str(entries["class_path"]).rpartition(".")[2] if "class_path" in entries else owner
        for name, value in entries.items():
            key = prefix if name == "init_args" else f"{prefix}{name}."
            if name not in ("class_path", "init_args"):
                yield key.rstrip("."), owner, value
            yield from _arguments(value, key, _GROUPS.get(name, owner) if not prefix else owner)
