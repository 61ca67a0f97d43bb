"""NumPy's files from anywhere: no pickles in them are read, and what they unpack to has a bound."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from discrete_lightning.storage.gunzip import PackedError, bound


def read_arrays(path: Path) -> Any:
    """The array of an NPY file, which stays on disk (a memory map), or a dictionary of the arrays of an NPZ file.

    Raises:
        PackedError: the file is damaged, is of another kind, holds Python objects, or its header states more than there is.
        OSError: it cannot be read.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                total, most = sum(each.file_size for each in archive.infolist()), bound(path.stat().st_size)
            if total > most:
                raise PackedError(f"{path.stat().st_size:,} bytes that unpack to more than {most:,}")
        with path.open("rb") as file:  # np.load leaves the file open if it is damaged
            opened = np.load(file, allow_pickle=False)
            if isinstance(opened, np.lib.npyio.NpzFile):
                return dict(opened)
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (PackedError, OSError):
        raise
    except Exception as error:  # numpy and zipfile meet bytes of another kind in many ways, with MemoryError too
        if "ython objects" in str(error) or "allow_pickle" in str(error):
            raise PackedError("it holds Python objects: save numbers of one shape") from None
        raise PackedError(" ".join(str(error).split())[:200] or type(error).__name__) from None
