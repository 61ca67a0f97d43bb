"""Which lines of a traceback are the user's own."""

import sysconfig
import traceback
from pathlib import Path

import lightning

_PACKAGE = str(Path(__file__).resolve().parents[2])
_LIGHTNING = str(Path(lightning.__file__).parent)
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def user_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The frames of `error` in files that are neither installed nor of this package, the outermost first."""
    return [frame for frame in traceback.extract_tb(error.__traceback__) if _of_user(frame.filename)]


def raised_by_user(error: BaseException) -> bool:
    """Whether a `raise` in the user's own code made `error`, which its message explains. A failure inside a library, or of
    an expression of theirs, is explained by the line where it happened."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and _of_user(frames[-1].filename) and (frames[-1].line or "").startswith("raise")


def raised_by_lightning(error: BaseException) -> bool:
    """Whether a `raise` in Lightning made `error`: it refuses an option, or a monitor that is not logged."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.startswith(_LIGHTNING) and (frames[-1].line or "").startswith("raise")


def _of_user(file: str) -> bool:
    inside = file.startswith((f"{_PACKAGE}/", f"{_PACKAGE}\\", *_INSTALLED)) or "site-packages" in file
    return not inside and not file.startswith("<")
