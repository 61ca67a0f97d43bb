"""The lines of a text file as people have it: packed by gzip or not, any line ends, UTF-8, UTF-16 or Latin-1."""

import codecs
import re
from pathlib import Path

from discrete_lightning.storage.gunzip import PackedError, gunzip

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def read_lines(path: str | Path) -> list[str]:
    """The lines of a file, without line ends and without a byte order mark.

    Raises:
        FileNotFoundError: there is no such file.
        IsADirectoryError: it is a folder.
        ValueError: it is damaged, or not a text file.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give a file in it")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}; a relative path starts from {Path.cwd()}")
    try:
        data = gunzip(path.read_bytes())
    except PackedError as error:
        raise ValueError(f"{path} is a damaged gzip file: {error}: make or download it again") from None
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if encoding is None and b"\0" in data:
        raise ValueError(f"{path} is not a text file, nor one packed by gzip: unpack it or export it as text")
    try:
        text = data.decode(encoding or "utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return re.split("\r\n|\r|\n", text)
