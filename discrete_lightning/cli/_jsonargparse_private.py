"""Everything that the package takes from jsonargparse's private interface; tests/test_private_interfaces.py checks it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from jsonargparse import _util, set_parsing_settings
from jsonargparse._common import ImportDenied, parsing_settings
from jsonargparse._loaders_dumpers import loaders, set_omegaconf_loader


@contextmanager
def parsing_rules(**settings: Any) -> Iterator[None]:
    """Sets jsonargparse's settings (see `set_parsing_settings`) and restores them, which its public setter cannot."""
    before = dict(parsing_settings)
    set_parsing_settings(**settings)
    try:
        yield
    finally:
        parsing_settings.update(before)


@contextmanager
def kinds_checked(is_harmless: Callable[[Any], bool]) -> Iterator[None]:
    """Within the block, what a value names by an import path is refused unless `is_harmless` says that it is.

    jsonargparse compares paths alone. It asks for the canonical paths of whatever it has imported, before it uses it.
    """
    canonical = _util.canonical_import_paths

    def checked(found: Any) -> set[str]:
        paths: set[str] = canonical(found)
        if not is_harmless(found):
            name = sorted(paths)[0] if paths else type(found).__qualname__
            raise ImportDenied(f"Importing '{name}' is not allowed, denied by its kind.")
        return paths

    with mock.patch.object(_util, "canonical_import_paths", checked):
        yield


@contextmanager
def texts_checked(mode: str, check: Callable[[str], None]) -> Iterator[None]:
    """Within the block, `check(text)` is called before a text is parsed as YAML: a config, a file that it names, a value.

    Args:
        mode: of the parser.
        check: what it raises is not caught, unless it is a ValueError or an error of YAML.
    """
    set_omegaconf_loader(mode)
    whole = loaders[mode]

    def load(text: Any) -> Any:
        if isinstance(text, str):
            check(text)
        return whole(text)

    with mock.patch.dict(loaders, {mode: load}):
        yield
