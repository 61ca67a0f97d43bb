"""Every byte of a checkpoint counts, and plain files of torch and Lightning load as before."""

import io
import zipfile
from pathlib import Path

import pytest
import torch

from discrete_lightning.storage.digest import DamagedError, check_digest, save_with_digest
from discrete_lightning.training.damage import CheckpointError, check_file

CONTENT = {"a": torch.arange(3.0), "b": [1, 2]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.ckpt"
    with path.open("wb") as file:
        save_with_digest(CONTENT, file)
    return path


def test_torch_and_zip_read_it(path: Path) -> None:
    assert check_digest(path)
    check_file(path)
    assert torch.load(path, weights_only=True)["b"] == [1, 2]
    assert torch.load(path, weights_only=True, mmap=True)["b"] == [1, 2]
    assert zipfile.ZipFile(path).testzip() is None


def test_a_flip_of_any_byte_is_found(path: Path) -> None:
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        with pytest.raises(CheckpointError, match=r"a.ckpt is (damaged|cut short)"):
            check_file(path)


def test_a_file_cut_anywhere_is_found(path: Path) -> None:
    whole = path.read_bytes()
    for end in range(4, len(whole), 3):
        path.write_bytes(whole[:end])
        with pytest.raises(DamagedError, match="cut short"):
            check_digest(path)


def test_zeros_and_more_bytes_are_found(path: Path) -> None:
    whole = path.read_bytes()
    for content in (whole + b"\0", whole + whole, whole[:-200] + bytes(200), whole[:100] + bytes(64) + whole[164:]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"a.ckpt is (damaged|cut short)"):
            check_file(path)


def test_a_plain_file_has_none_and_is_taken(path: Path) -> None:
    torch.save(CONTENT, path)
    assert not check_digest(path)
    check_file(path)
    torch.save(CONTENT, path, _use_new_zipfile_serialization=False)
    assert not check_digest(path)
    check_file(path)


def test_what_is_hashed_is_what_torch_writes(path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(CONTENT, buffer)
    assert len(path.read_bytes()) == len(buffer.getvalue()) + 90
