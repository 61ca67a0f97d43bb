"""Everything that the package takes from jsonargparse's private interface; tests/test_private_interfaces.py checks it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from jsonargparse import _util, set_parsing_settings
from jsonargparse._common import ImportDenied, parsing_settings


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
