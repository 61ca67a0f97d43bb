"""Lazy faces (PEP 562): a module that re-exports names, and imports the module of a name only when the name is used.

The names of a face are listed once, in the stub file (`.pyi`) beside it, which type checkers and editors read, too.
"""

import ast
import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

PUBLIC = (
    "models", "data", "callbacks", "estimators", "nn", "losses", "metrics", "oracles", "constraints", "design", "schedules",
)  # fmt: skip


def lazy_face(
    name: str, file: str, moved: dict[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of the face `name`, read from its stub.

    Args:
        name: the face's `__name__`.
        file: its `__file__`; the stub is in the same folder and holds only lines `from MODULE import NAME as NAME`.
        moved: former names, and the present path of each; see `former_names`.

    Returns:
        the three objects, to be assigned at the top of the face.
    """
    stub = ast.parse(Path(file).with_suffix(".pyi").read_text(encoding="utf-8"))
    homes = {
        alias.name: node.module
        for node in stub.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }

    def get(attribute: str) -> Any:
        if attribute in homes:
            value = getattr(importlib.import_module(homes[attribute]), attribute)
            vars(importlib.import_module(name))[attribute] = value  # found without this function from now on
            return value
        return former(attribute)

    former = former_names(name, moved or {})
    names = sorted(homes)
    return get, lambda: names, names


def former_names(name: str, moved: dict[str, str]) -> Callable[[str], Any]:
    """`__getattr__` of the module `name` for names that are elsewhere now: they are found, with a DeprecationWarning.

    Args:
        name: the module's `__name__`.
        moved: former names, and the path of each now.
    """

    def get(attribute: str) -> Any:
        if attribute not in moved:
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
        warnings.warn(f"{name}.{attribute} is {moved[attribute]} now", DeprecationWarning, stacklevel=3)
        module, _, new = moved[attribute].rpartition(".")
        return getattr(importlib.import_module(module), new)

    return get


def load_public_names() -> None:
    """Imports all classes and functions that users can name, of all families."""
    for name in PUBLIC:
        module = importlib.import_module(f"discrete_lightning.{name}")
        for each in getattr(module, "__all__", ()):
            getattr(module, each)
