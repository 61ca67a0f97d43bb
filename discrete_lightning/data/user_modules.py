"""Modules of the user's own that an argument names as text: a program may ask to be told before one is imported."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_check: Callable[[str, str], None] | None = None


def ask_to_import(path: str, argument: str) -> None:
    """To be called before the module in `path` is imported; without a check in force nothing happens.

    Args:
        path: as the user gave it: "module:name".
        argument: the name of the argument.

    Raises:
        Exception: that of the check in force, which does not trust the module.
    """
    if _check is not None:
        _check(path, argument)


@contextmanager
def imports_checked(check: Callable[[str, str], None]) -> Iterator[None]:
    """Within the block, `check(path, argument)` is called before a module is imported; what it raises prevents that."""
    global _check
    before, _check = _check, check
    try:
        yield
    finally:
        _check = before
