import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from discrete_lightning.data import DataError, read_idx

GOOD = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 255])
ZIPPED = gzip.compress(GOOD)


def put(folder: Path, content: bytes, name: str = "file-idx2-ubyte.gz") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "name"), [(GOOD, "a"), (ZIPPED, "a.gz"), (GOOD, "unzipped.gz"), (ZIPPED, "zipped")]
)
def test_reads_zipped_or_not_whatever_the_name(tmp_path: Path, content: bytes, name: str) -> None:
    read = read_idx(put(tmp_path, content, name))
    assert read.dtype == torch.uint8
    assert read.tolist() == [[1, 2, 3], [4, 5, 255]]


@pytest.mark.parametrize("shape", [(7,), (2, 3), (4, 28, 28), (2, 1, 3, 1, 2)])
def test_round_trip(tmp_path: Path, to_idx: Callable[[Tensor], bytes], shape: tuple[int, ...]) -> None:
    values = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(read_idx(put(tmp_path, to_idx(values))), values)


def test_result_may_be_written_to(tmp_path: Path) -> None:
    read_idx(put(tmp_path, GOOD)).zero_()
    assert read_idx(tmp_path / "file-idx2-ubyte.gz").sum() == 270


@pytest.mark.parametrize(
    ("content", "expected", "found"),
    [
        pytest.param(b"", "IDX file", "nothing", id="empty"),
        pytest.param(b"<html>404</html>", "IDX file", "3c 68 74 6d", id="a web page"),
        pytest.param(b"\0\0\x0d\x01\0\0\0\0", "unsigned bytes", "00 00 0d 01", id="floats"),
        pytest.param(b"\0\0\x08\x00", "01 or more", "00 00 08 00", id="no dimensions"),
        pytest.param(GOOD[:3], "IDX file", "00 00 08", id="cut in the magic"),
        pytest.param(GOOD[:9], "header of 12 bytes", "9 bytes", id="cut in the header"),
        pytest.param(GOOD[:-1], "18 bytes", "17 bytes", id="one byte missing"),
        pytest.param(GOOD + b"\0", "18 bytes", "19 bytes", id="one byte more"),
        pytest.param(b"\0\0\x08\x02\0\0\0\0\xff\xff\xff\xff", "1 or more", "(0, 4294967295)", id="no images"),
        pytest.param(ZIPPED[:-9], "gzip", "do not unzip", id="gzip cut in the stream"),
        pytest.param(ZIPPED[:-2], "gzip", "do not unzip", id="gzip cut in its checksum"),
        pytest.param(ZIPPED[:2], "gzip", "do not unzip", id="gzip cut in its header"),
        pytest.param(ZIPPED + b"rubbish", "gzip", "do not unzip", id="rubbish behind the gzip"),
        pytest.param(ZIPPED[:10] + b"\xff" * 20, "gzip", "do not unzip", id="broken deflate stream"),
        pytest.param(ZIPPED[:-8] + bytes(4) + ZIPPED[-4:], "gzip", "do not unzip", id="wrong check sum in the gzip"),
        pytest.param(gzip.compress(GOOD[:-1]), "18 bytes", "17 bytes", id="gzip of a short file"),
        pytest.param(gzip.compress(ZIPPED), "IDX file", "1f 8b", id="zipped twice"),
    ],
)
def test_corrupt_file(tmp_path: Path, content: bytes, expected: str, found: str) -> None:
    path = put(tmp_path, content)
    with pytest.raises(DataError) as caught:
        read_idx(path)
    first, advice = str(caught.value).split("\n")
    assert first.startswith(f"{path}: expected ")
    stated, there = first.split("found: ")
    assert expected in stated
    assert found in there
    assert "Delete the file" in advice
    assert "--data.folder" in advice


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: expected a readable IDX file, found: No such file"):
        read_idx(tmp_path / "nowhere")


def test_folder_instead_of_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found: Is a directory"):
        read_idx(tmp_path)


def test_checksum_is_of_the_unzipped_content(tmp_path: Path) -> None:
    md5 = "ff4230aa983706bf1a4711ceb2e12bc7"
    for level in (1, 9):
        assert read_idx(put(tmp_path, gzip.compress(GOOD, level)), md5=md5).shape == (2, 3)
    with pytest.raises(DataError, match=f"expected content with md5 {md5}, found: 18 bytes with md5 "):
        read_idx(put(tmp_path, gzip.compress(GOOD[:-1] + b"\0")), md5=md5)


def test_data_error_is_a_value_error() -> None:
    assert issubclass(DataError, ValueError)
