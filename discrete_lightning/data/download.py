"""Downloads a file of a data set from one of several mirrors, and checks it before it gets its name."""

import http.client
import os
import urllib.request
import uuid
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info

from discrete_lightning.data.errors import DataError
from discrete_lightning.data.files import Source, not_found, roots
from discrete_lightning.data.idx import check_md5, gunzip

_MOST = 1 << 28  # bytes
TIMEOUT = 15.0  # seconds without an answer or a byte, for one mirror


def download(source: Source, file: str, folder: str | None) -> Path:
    """Download `file` to the data set's folder under the first root; what is found there is replaced.

    The content is verified before anything is written, and the file gets its name only when it is complete: another
    process, or the next run after a crash, never sees half of it.

    Returns:
        Where it is, gzipped as the mirror sent it.

    Raises:
        DataError: no mirror answered with the right content, or the folder cannot be written.
    """
    name = f"{file}.gz"
    target = roots(folder)[0] / source.folders[0] / name
    tried: list[str] = []
    for mirror in source.mirrors:
        rank_zero_info(f"Downloading {source.name}'s {name} from {mirror} to {target.parent}")
        try:
            with urllib.request.urlopen(mirror + name, timeout=TIMEOUT) as response:
                content: bytes = response.read(_MOST)  # more is not what was asked for: the checksum says so
            check_md5(gunzip(content, name), source.md5[file], name)
        except (OSError, http.client.HTTPException, DataError) as error:
            # A DataError's first line says what came; the rest is advice on files that the user has
            tried.append(f"{mirror}: {str(error).splitlines()[0]}")
            continue
        _write(content, target)
        return target
    raise not_found(source, file, folder, tried)


def _write(content: bytes, target: Path) -> None:
    # Not tempfile: its files are for the owner alone, and a data folder is often shared
    partial = target.with_name(f"{target.name}.{uuid.uuid4().hex}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(content)
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"{target}: downloaded, but cannot be written: {error.strerror or error}.\n"
            "Name a folder that can be written and has room (--data.folder, or the environment variable "
            "DISCRETE_LIGHTNING_DATA)."
        ) from error
