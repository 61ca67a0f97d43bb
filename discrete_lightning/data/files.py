"""Where the files of a data set are looked for."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from discrete_lightning.data.errors import DataError, MissingData

VARIABLE = "DISCRETE_LIGHTNING_DATA"
CACHE = "~/.cache/discrete_lightning"


@dataclass(frozen=True)
class Source:
    """A data set's files.

    Attributes:
        name: of the data set, in messages.
        folders: under a root, the first is ours (downloads go there), the others are other libraries' layouts.
        mirrors: addresses of a folder with the files as `.gz`, tried in turn.
        md5: for each file (without `.gz`) the checksum of its unzipped content.
    """

    name: str
    folders: tuple[str, ...]
    mirrors: tuple[str, ...]
    md5: Mapping[str, str]


def roots(folder: str | None) -> list[Path]:
    """The folders to search: first `folder`, then that of the environment variable, then the cache."""
    candidates = [folder, os.environ.get(VARIABLE), CACHE]
    return [Path(root).expanduser() for root in candidates if root]


def find(source: Source, file: str, folder: str | None) -> Path | None:
    """The first place that has `file`, gzipped or not, or None.

    Example:
        >>> import pathlib, tempfile
        >>> source = Source("Made up", ("made-up",), (), {"labels": ""})
        >>> with tempfile.TemporaryDirectory() as root:
        ...     path = pathlib.Path(root, "made-up", "labels.gz")
        ...     path.parent.mkdir()
        ...     path.touch()
        ...     find(source, "labels", root) == path, find(source, "images", root)
        (True, None)
    """
    for root in roots(folder):
        for place in (*source.folders, "."):
            for name in (file, f"{file}.gz"):
                path = root / place / name
                if os.path.isfile(path):  # unlike Path.is_file, False for a folder that may not be entered
                    return path
    return None


def not_found(source: Source, file: str, folder: str | None, tried: Sequence[str] = ()) -> DataError:
    """The error for a file that is in none of the folders; `tried` says how each attempted download failed."""
    lines = [f"{source.name}: expected {file}, gzipped or not, found it in none of"]
    lines += [f"  {root} (itself, or in it {', '.join(source.folders)})" for root in roots(folder)]
    lines += [f"Download failed from {attempt}" for attempt in tried] or [
        "No download was tried: download=False, or prepare_data() was not called."
    ]
    files = ", ".join(f"{name}.gz" for name in source.md5)
    origin = " or ".join(source.mirrors)
    target = roots(folder)[0] / source.folders[0]
    lines += [
        "Ways to get the data:",
        f"  - have it already: name its folder with --data.folder or the environment variable {VARIABLE};",
        f"  - get it on a connected machine, by running this there or from {origin}: {files}; put the files in {target};",
        "  - use the 5,000 digits that need no download: --data Digits.",
    ]
    return MissingData("\n".join(lines))
