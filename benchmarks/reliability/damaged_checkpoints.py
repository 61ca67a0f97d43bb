"""Kinds of damage to a checkpoint, for files.py: each makes a file from a whole one."""

import gzip
import io
import math
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


class _Code:
    """An object that leaves a file as its trace when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch executed",)


def _packed(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _flip(whole: bytes, place: int) -> bytes:
    return whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :]


def _edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    """A checkpoint with another content, as one who opens and saves it would leave it."""

    def edit(whole: bytes) -> bytes:
        content = torch.load(io.BytesIO(whole), weights_only=True)
        changed = change(content)
        return _packed(content if changed is None else changed)

    return edit


def _without(*names: str) -> Callable[[bytes], bytes]:
    return _edited(lambda content: {key: value for key, value in content.items() if key not in names})


def _weights(value: float) -> Callable[[bytes], bytes]:
    def change(content: dict[str, Any]) -> None:
        name = next(key for key, each in content["state_dict"].items() if each.is_floating_point() and each.numel() > 4)
        content["state_dict"][name].view(-1)[3] = value

    return _edited(change)


def _entry(path: str, value: Any) -> Callable[[bytes], bytes]:
    def change(content: dict[str, Any]) -> None:
        *above, last = path.split(".")
        for name in above:
            content = content[name]
        content[last] = value

    return _edited(change)


def _renamed(content: dict[str, Any]) -> None:
    content["state_dict"] = {f"model.{key}": value for key, value in content["state_dict"].items()}


def _cut_tensor(content: dict[str, Any]) -> None:
    name = next(key for key, each in content["state_dict"].items() if each.ndim > 1)
    content["state_dict"][name] = content["state_dict"][name][:1]


def png() -> bytes:
    """A picture of one pixel."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0\0")),
        (b"IEND", b""),
    ]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _zip(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def _repacked(whole: bytes) -> bytes:
    """With a record of 2 GB of zeros that take 2 MB."""
    source, buffer = zipfile.ZipFile(io.BytesIO(whole)), io.BytesIO()
    names = source.namelist()
    largest = next(name for name in names if "/data/" in name)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in names:
            if name != largest:
                archive.writestr(name, source.read(name), zipfile.ZIP_STORED)
        with archive.open(largest, "w", force_zip64=True) as record:
            for _ in range(1 << 7):
                record.write(bytes(1 << 24))
    return buffer.getvalue()


def _script(_: bytes) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), buffer)
    return buffer.getvalue()


def _nested(_: bytes) -> bytes:
    value: list[Any] = []
    for _depth in range(400):
        value = [value]
    return _packed({"state_dict": value, "pytorch-lightning_version": "2.6.6"})


BYTES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "one byte": lambda whole: whole[:1],
    "cut in half": lambda whole: whole[: len(whole) // 2],
    "last byte missing": lambda whole: whole[:-1],
    "digest missing": lambda whole: whole[:-90],
    "half a digest": lambda whole: whole[:-30],
    "end of the zip missing": lambda whole: whole[: whole.rfind(b"PK\x05\x06")],
    "list of records missing": lambda whole: whole[: whole.find(b"PK\x01\x02")],
    "bit in the first byte": lambda whole: _flip(whole, 0),
    "bit in a record's name": lambda whole: _flip(whole, whole.find(b"data.pkl")),
    "bit in a record's length": lambda whole: _flip(whole, 22),
    "bit in the pickle": lambda whole: _flip(whole, whole.find(b"state_dict")),
    "bit in the weights": lambda whole: _flip(whole, whole.find(b"data/0") + 2000),
    "bit in the padding": lambda whole: _flip(whole, whole.find(b"ZZZZ") + 1),
    "bit in the list of records": lambda whole: _flip(whole, whole.find(b"PK\x01\x02") + 8),
    "bit in the end of the zip": lambda whole: _flip(whole, whole.rfind(b"PK\x05\x06") + 16),
    "bit in the digest": lambda whole: _flip(whole, len(whole) - 5),
    "bit in the digest's name": lambda whole: _flip(whole, len(whole) - 80),
    "a block of zeros": lambda whole: whole[:4096] + bytes(4096) + whole[8192:],
    "zeros at the end": lambda whole: whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2),
    "bytes appended": lambda whole: whole + b"\0" * 7,
    "written twice": lambda whole: whole + whole,
    "line ends converted": lambda whole: whole.replace(b"\n", b"\r\n"),
    "read as text": lambda whole: whole.decode("latin-1").encode("utf-8"),
    "gzip of it": gzip.compress,
    "text": lambda whole: b"hello, this is a text\n" * 20,
    "picture": lambda whole: png(),
    "zip of something else": lambda whole: _zip(word__document=b"<xml/>"),
    "zip with another pickle": lambda whole: _zip(archive__data__pkl=b"\x80\x02N."),
    "packed record of 2 GB": _repacked,
    "TorchScript": _script,
    "a list": lambda whole: _packed([1, 2]),
    "a tensor": lambda whole: _packed(torch.zeros(3)),
    "None": lambda whole: _packed(None),
    "a plain state dict": _edited(lambda content: content["state_dict"]),
    "a dictionary": lambda whole: _packed({"epoch": 3}),
    "a whole module": lambda whole: _packed(torch.nn.Linear(2, 2)),
    "nested 400 deep": _nested,
    "runs code": lambda whole: _packed({"state_dict": {}, "pytorch-lightning_version": "2.6.6", "x": _Code()}),
    "runs code among the hyper-parameters": _entry("hyper_parameters.hidden", _Code()),
    "NaN in a weight": _weights(math.nan),
    "infinite weight": _weights(math.inf),
    "no weights": _without("state_dict"),
    "weights are a list": _entry("state_dict", [1, 2]),
    "weights are empty": _entry("state_dict", {}),
    "a weight is a text": _edited(lambda content: content["state_dict"].update({next(iter(content["state_dict"])): "one"})),
    "names of weights changed": _edited(_renamed),
    "a weight of another shape": _edited(_cut_tensor),
    "written by a later version": _entry("discrete_lightning", {"version": "99.0", "format": 99, "classes": ["VQAutoencoder"]}),
    "version that makes no sense": _entry("discrete_lightning", {"version": "1", "format": "one"}),
}  # fmt: skip
# These are refused by fit alone: weights are all that the other commands need.
RESUMING: dict[str, Callable[[bytes], bytes]] = {
    "without optimiser": _without("optimizer_states"),
    "without schedulers": _without("lr_schedulers"),
    "without loops": _without("loops"),
    "no optimiser in the list": _entry("optimizer_states", []),
    "optimiser of another model": _entry("optimizer_states", [{"state": {}, "param_groups": []}]),
    "optimiser is a text": _entry("optimizer_states", "adam"),
    "loops are a number": _entry("loops", 5),
    "loops are empty": _entry("loops", {}),
    "callbacks are a list": _entry("callbacks", [1]),
    "epoch is a text": _entry("epoch", "three"),
}


def _folder(path: Path, _: Path) -> None:
    path.mkdir()


def _link(path: Path, _: Path) -> None:
    path.symlink_to("nowhere")


def _pipe(path: Path, _: Path) -> None:
    os.mkfifo(path)


def _unreadable(path: Path, whole: Path) -> None:
    shutil.copy(whole, path)
    path.chmod(0)


PLACES: dict[str, Callable[[Path, Path], None]] = {
    "a folder without a checkpoint": _folder,
    "a link to nowhere": _link,
    "a pipe": _pipe,
    **({} if os.geteuid() == 0 else {"not readable": _unreadable}),
}
