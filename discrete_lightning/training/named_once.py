"""The modules that glob patterns of names mean."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from torch import nn


def named_once(module: nn.Module, only: Sequence[str] | None) -> Iterator[tuple[str, nn.Module]]:
    """Name and module of all in `module` whose names match; each module once, by the first of its names that matches.

    Args:
        module: the outermost one; its own name is "".
        only: glob patterns (`encoder.*`); None matches all.

    Example:
        >>> layer = nn.Tanh()
        >>> [name for name, _ in named_once(nn.ModuleDict({"a": layer, "b": layer}), ["b*"])]
        ['b']
    """
    seen: set[nn.Module] = set()
    for name, each in module.named_modules(remove_duplicate=False):
        if each not in seen and (only is None or any(fnmatchcase(name, pattern) for pattern in only)):
            seen.add(each)
            yield name, each
