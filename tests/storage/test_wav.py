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


def extensible(whole: bytes, kind: int, extra: bytes = b"") -> bytes:
    """A file of 44 bytes of header and PCM with the header of WAVE_FORMAT_EXTENSIBLE, and chunks before the samples."""
    guid = kind.to_bytes(2, "little") + bytes.fromhex("000000001000800000aa00389b71")
    bits = struct.unpack_from("<H", whole, 34)[0]
    header = struct.pack("<H", 0xFFFE) + whole[22:36] + struct.pack("<HHI", 22, bits, 0) + guid
    body = b"WAVEfmt " + struct.pack("<I", len(header)) + header + extra + whole[36:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("width", [2, 3, 4])
def test_the_extensible_header(width: int, tmp_path: Path) -> None:
    """What many programs write for 24 bits and for several channels, also behind a chunk of odd length."""
    rows = [[100, -200], [300, 7]]
    plain, rate = read_wav(wav(tmp_path / "a.wav", rows, width, 48000))
    whole = (tmp_path / "a.wav").read_bytes()
    for extra in (b"", b"LIST" + struct.pack("<I", 5) + b"title\0"):
        (tmp_path / "b.wav").write_bytes(extensible(whole, 1, extra))
        found, its_rate = read_wav(tmp_path / "b.wav")
        np.testing.assert_array_equal(found, plain)
        assert its_rate == rate == 48000


@pytest.mark.parametrize(
    ("place", "kind", "value", "words"),
    [
        (24, "<I", 0, "states 0 samples a second: expected 1,000 to 768,000"),
        (24, "<I", 1, "states 1 samples a second"),
        (24, "<I", 2**32 - 1, "states 4,294,967,295 samples a second"),
        (22, "<H", 0, "states 0 channels: expected 1 to 256"),
        (22, "<H", 65535, "states 65,535 channels"),
        (22, "<H", 2, "states 2 bytes for 2 samples of 16 bits"),
        (34, "<H", 0, "have 0 bits: expected 8, 16, 24 or 32"),
        (34, "<H", 64, "have 64 bits"),
        (20, "<H", 7, "its samples are mu-law"),
        (20, "<H", 4321, "its samples are of the format 4321"),
        (40, "<I", 2**32 - 1, "it is cut off: 100 of 2,147,483,647 samples"),
        (40, "<I", 7, "its 7 bytes of samples are not a whole number of 1 x 2 bytes"),
    ],
)
def test_headers_that_state_what_cannot_be(tmp_path: Path, place: int, kind: str, value: int, words: str) -> None:
    raw = bytearray(wav(tmp_path / "a.wav", [[5]] * 100, 2).read_bytes())
    struct.pack_into(kind, raw, place, value)
    (tmp_path / "a.wav").write_bytes(raw)
    with pytest.raises(PackedError, match=words):
        read_wav(tmp_path / "a.wav")


def test_damaged_files(tmp_path: Path) -> None:
    whole = wav(tmp_path / "a.wav", [[5]] * 100, 2).read_bytes()
    floats = whole[:20] + struct.pack("<H", 3) + whole[22:]  # the format of floating-point numbers
    for content, words in (
        (b"", "it ends within its header"),
        (b"not a sound at all, but long enough for a header of one", "does not start with RIFF and WAVE"),
        (whole[:30], "it ends within its header"),
        (whole[:40], "it ends within its header, without a chunk data"),
        (whole[:-60], "it is cut off: 70 of 100 samples"),
        (whole[:-60] + b"RIFF", "it is cut off: 72 of 100 samples"),
        (floats, "its samples are floating-point numbers"),
        (extensible(whole, 3), "its samples are floating-point numbers"),
        (extensible(whole, 1)[:-199] + b"0", "it is cut off: 1 of 100 samples"),
    ):
        (tmp_path / "b.wav").write_bytes(content)
        with pytest.raises(PackedError, match=words):
            read_wav(tmp_path / "b.wav")
    with pytest.raises(OSError, match="No such file"):
        read_wav(tmp_path / "c.wav")
