"""Everything that the package takes from jsonargparse's private interface; tests/test_private_interfaces.py checks it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jsonargparse import set_parsing_settings
from jsonargparse._common import parsing_settings


@contextmanager
def parsing_rules(**settings: Any) -> Iterator[None]:
    """Sets jsonargparse's settings (see `set_parsing_settings`) and restores them, which its public setter cannot."""
    before = dict(parsing_settings)
    set_parsing_settings(**settings)
    try:
        yield
    finally:
        parsing_settings.update(before)
