"""WAV files of every width, and damaged ones."""

import io
import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from discrete_lightning.storage.gunzip import PackedError
from discrete_lightning.storage.wav import read_wav, write_wav


def wav(path: Path, values: list[list[int]], width: int, rate: int = 8000) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((len(values[0]), width, rate, 0, "NONE", ""))
        signed = width > 1
        flat = (value for row in values for value in row)
        file.writeframes(b"".join(value.to_bytes(width, "little", signed=signed) for value in flat))
    return path


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_every_width(width: int, tmp_path: Path) -> None:
    half, middle = 2 ** (8 * width - 2), 128 if width == 1 else 0
    rows = [[middle, middle + half], [middle - half, middle - 2 * half]]
    samples, rate = read_wav(wav(tmp_path / "a.wav", rows, width, 11025))
    np.testing.assert_array_equal(samples, np.array([[0, 0.5], [-0.5, -1]], np.float32))
    assert rate == 11025


def test_what_is_written_is_read(tmp_path: Path) -> None:
    samples = np.random.RandomState(0).uniform(-1.2, 1.2, 500)
    file = io.BytesIO()
    write_wav(file, samples, 8000)
    (tmp_path / "a.wav").write_bytes(file.getvalue())
    found, rate = read_wav(tmp_path / "a.wav")
    np.testing.assert_allclose(found[:, 0], samples.clip(-1, 1), atol=1e-4)
    assert rate == 8000


def test_damaged_files(tmp_path: Path) -> None:
    whole = wav(tmp_path / "a.wav", [[5]] * 100, 2).read_bytes()
    floats = whole[:20] + struct.pack("<H", 3) + whole[22:]  # the format of floating-point numbers
    for content, words in (
        (b"", "it ends within its header"),
        (b"not a sound at all, but long enough for a header of one", "does not start with RIFF id"),
        (whole[:30], "it ends within its header|unknown|fmt chunk"),
        (whole[:-60], "it is cut off: 70 of 100 samples"),
        (floats, "unknown format: 3"),
    ):
        (tmp_path / "b.wav").write_bytes(content)
        with pytest.raises(PackedError, match=words):
            read_wav(tmp_path / "b.wav")
    with pytest.raises(OSError, match="No such file"):
        read_wav(tmp_path / "c.wav")
