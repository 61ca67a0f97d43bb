"""WAV files from anywhere: PCM of 8, 16, 24 or 32 bits."""

import wave
from pathlib import Path
from typing import Any

import numpy as np

from discrete_lightning.storage.gunzip import PackedError


def read_wav(path: Path) -> tuple[Any, int]:
    """The samples of a file, float32 (N, channels) in [-1, 1), and their number a second.

    Raises:
        PackedError: the file is damaged or cut off, is of another kind, or its samples are no PCM of 8, 16, 24 or 32 bits.
        OSError: it cannot be read.
    """
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate, frames = file.getparams()[:4]
            raw = file.readframes(min(frames, path.stat().st_size))  # a header may state any number
    except (wave.Error, EOFError) as error:
        raise PackedError(str(error) or "it ends within its header") from None
    if width not in (1, 2, 3, 4):
        raise PackedError(f"samples of {8 * width} bits: expected PCM of 8, 16, 24 or 32")
    if len(raw) != frames * width * channels:
        raise PackedError(f"it is cut off: {len(raw) // max(1, width * channels):,} of {frames:,} samples are there")
    bytes_ = np.frombuffer(raw, np.uint8).reshape(-1, width)
    if width == 1:  # unsigned, unlike the others
        values = bytes_[:, 0].astype(np.float32) - 128
    else:
        whole = np.zeros((len(bytes_), 4), np.uint8)
        whole[:, 4 - width :] = bytes_
        values = (whole.view("<i4")[:, 0] >> (8 * (4 - width))).astype(np.float32)
    return (values / 2.0 ** (8 * width - 1)).reshape(-1, channels), rate


def write_wav(file: Any, samples: Any, rate: int) -> None:
    """Writes samples (N,), cut off at -1 and 1, to an open binary file, as PCM of 16 bits.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> write_wav(file, np.array([0.0, 0.5, -2.0]), rate=8000)
        >>> wave.open(io.BytesIO(file.getvalue())).getnframes()
        3
    """
    values = (np.clip(np.asarray(samples, np.float64), -1, 1) * 32767).round().astype("<i2")
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(values.tobytes())
