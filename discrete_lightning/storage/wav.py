"""WAV files from anywhere: PCM of 8, 16, 24 or 32 bits (Multimedia Programming Interface and Data Specifications 1.0, 1991),
also with the extensible header of 2001, which many programs write for 24 bits or several channels."""

import os
import struct
import wave
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from discrete_lightning.storage.gunzip import PackedError

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_FORMATS = {_FLOAT: "floating-point numbers", 2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "ADPCM", 85: "MP3"}
_SUBFORMAT = bytes.fromhex("000000001000800000aa00389b71")  # what follows the format's number in an extensible header
_RATES, _CHANNELS = (1000, 768_000), 256


def read_wav(path: Path) -> tuple[Any, int]:
    """The samples of a file, float32 (N, channels) in [-1, 1), and their number a second.

    Raises:
        PackedError: the file is damaged or cut off, is of another kind, its samples are no PCM of 8, 16, 24 or 32 bits, or it
            states a rate outside of 1,000 to 768,000 a second or more than 256 channels.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(12)
        if len(start) < 12 and start[:4] == b"RIFF"[: len(start)]:
            raise PackedError("it ends within its header")
        if start[:4] != b"RIFF" or start[8:] != b"WAVE":
            raise PackedError("it does not start with RIFF and WAVE")
        length = os.fstat(file.fileno()).st_size
        stated = _chunk(file, b"fmt ", length)
        channels, rate, width = _format(file.read(min(stated, 40)))
        file.seek(12)
        stated = _chunk(file, b"data", length)
        raw = file.read(min(stated, length))  # a header may state any number
    frame = width * channels
    if len(raw) != stated:
        raise PackedError(f"it is cut off: {len(raw) // frame:,} of {stated // frame:,} samples are there")
    if stated % frame:
        raise PackedError(f"its {stated:,} bytes of samples are not a whole number of {channels} x {width} bytes")
    bytes_ = np.frombuffer(raw, np.uint8).reshape(-1, width)
    if width == 1:  # unsigned, unlike the others
        values = bytes_[:, 0].astype(np.float32) - 128
    else:
        whole = np.zeros((len(bytes_), 4), np.uint8)
        whole[:, 4 - width :] = bytes_
        values = (whole.view("<i4")[:, 0] >> (8 * (4 - width))).astype(np.float32)
    return (values / 2.0 ** (8 * width - 1)).reshape(-1, channels), rate


def _chunk(file: BinaryIO, name: bytes, length: int) -> int:
    """Moves to the contents of the first chunk of this name at or after the place; returns the size that it states."""
    while len(header := file.read(8)) == 8:
        size = int.from_bytes(header[4:], "little")
        if header[:4] == name:
            return size
        file.seek(min(file.tell() + size + size % 2, length))  # chunks start at even places
    raise PackedError(f"it ends within its header, without a chunk {name.decode().strip()}")


def _format(header: bytes) -> tuple[int, int, int]:
    """Channels, samples a second and bytes a sample, checked."""
    if len(header) < 16:
        raise PackedError("it ends within its header")
    kind, channels, rate, _, frame, bits = struct.unpack_from("<HHIIHH", header)
    if kind == _EXTENSIBLE and header[26:40] == _SUBFORMAT:
        kind = int.from_bytes(header[24:26], "little")
    if kind != _PCM:
        raise PackedError(f"its samples are {_FORMATS.get(kind, f'of the format {kind}')}")
    width = -(-bits // 8)  # fewer bits fill the upper ones of their bytes
    if width not in (1, 2, 3, 4):
        raise PackedError(f"its samples have {bits} bits: expected 8, 16, 24 or 32")
    if not 1 <= channels <= _CHANNELS:
        raise PackedError(f"its header states {channels:,} channels: expected 1 to {_CHANNELS}")
    if not _RATES[0] <= rate <= _RATES[1]:
        raise PackedError(f"its header states {rate:,} samples a second: expected {_RATES[0]:,} to {_RATES[1]:,}")
    if frame != width * channels:
        raise PackedError(f"its header states {frame} bytes for {channels} samples of {bits} bits")
    return channels, rate, width


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
