"""Made-up IDX files, and a machine without data or network."""

import gzip
import struct
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data folder is set, the home folder is empty, and a download that a test did not ask for fails the test."""

    def urlopen(url: str, **_: Any) -> None:
        pytest.fail(f"unexpected download of {url}")

    monkeypatch.delenv("DISCRETE_LIGHTNING_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(urllib.request, "urlopen", urlopen)


@pytest.fixture
def to_idx() -> Callable[[Tensor], bytes]:
    """uint8 tensor -> the bytes of an IDX file, written from the format's description."""

    def encode(values: Tensor) -> bytes:
        header = bytes([0, 0, 8, values.ndim]) + b"".join(struct.pack(">I", size) for size in values.shape)
        return header + bytes(values.flatten().tolist())

    return encode


@pytest.fixture
def contents(to_idx: Callable[[Tensor], bytes]) -> dict[str, bytes]:
    """File name -> unzipped content of a small MNIST: 60 training and 20 test images, labels 0, 1, ... 9, 0, ..."""
    generator = torch.Generator().manual_seed(0)
    made: dict[str, bytes] = {}
    for part, count in (("train", 60), ("t10k", 20)):
        images = torch.randint(256, (count, 28, 28), dtype=torch.uint8, generator=generator)
        made[f"{part}-images-idx3-ubyte"] = to_idx(images)
        made[f"{part}-labels-idx1-ubyte"] = to_idx((torch.arange(count) % 10).to(torch.uint8))
    return made


@pytest.fixture
def put(contents: dict[str, bytes]) -> Callable[..., Path]:
    """Write the small MNIST's files into a folder, which is returned."""

    def write(folder: Path, zipped: bool = True) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            if zipped:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)
        return folder

    return write
