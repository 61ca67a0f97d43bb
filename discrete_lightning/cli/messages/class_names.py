"""What to say of a class name in a config that names nothing: the nearest known one, or the file of one's own."""

import inspect
import re
import sys
from pathlib import Path

from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.loggers import Logger

from discrete_lightning.cli.errors import did_you_mean

_BASES: dict[str, type] = {
    "model": LightningModule,
    "data": LightningDataModule,
    "trainer.callbacks": Callback,
    "trainer.logger": Logger,
}


def class_hint(name: str, key: str) -> str:
    """The message for `name` given as the class at `key`, where no such class fits.

    Args:
        name: as given.
        key: dotted, "model" or "trainer.callbacks".
    """
    base = _BASES.get(key)
    fitting = _short_names([base]) if base else _short_names([]) - _short_names(list(_BASES.values()))
    if base and name in _short_names([]) | _short_names(list(_BASES.values())):
        return f"{name} is no {base.__name__}, which this needs; {', '.join(_own_names(base))} are some"
    module = _own_module(name)
    if module:
        return (
            f"the short name {name} is known for this package's classes only: give {module}.{name} and --trust {module}"
        )
    hint = did_you_mean(name, fitting)
    return f"there is no class {name!r}{hint} (a class of your own is given as module.{name}, with --trust module)"


def _own_module(name: str) -> str | None:
    """The module in the working directory that defines the class `name`, found by its text: nothing is imported."""
    pattern = re.compile(rf"^class {re.escape(name)}\b", re.MULTILINE)
    for file in sorted(Path().glob("*.py"))[:100]:
        if file.is_file() and pattern.search(file.read_text(encoding="utf-8", errors="replace")):
            return file.stem
    return None


def _own_names(base: type) -> list[str]:
    """A few of this package's classes of this base."""
    found = [each for each in _subclasses(base) if each.__module__.startswith("discrete_lightning.")]
    return sorted(each.__name__ for each in found if not inspect.isabstract(each))[:5]


def _short_names(bases: list[type]) -> set[str]:
    """Names that configs can use: subclasses of the bases, or without bases all classes of this package."""
    if bases:
        return {each.__name__ for base in bases for each in _subclasses(base)}
    modules = [content for name, content in list(sys.modules.items()) if name.startswith("discrete_lightning.")]
    return {
        name
        for each in modules
        if each
        for name, value in vars(each).items()
        if inspect.isclass(value) and name[0] != "_"
    }


def _subclasses(base: type) -> list[type]:
    found, pending = [], [base]
    while pending:
        children: list[type] = pending.pop().__subclasses__()
        found += children
        pending.extend(children)
    return found
