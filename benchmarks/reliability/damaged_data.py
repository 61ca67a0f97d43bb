"""Kinds of damage to files of data, for files.py: (options of the command, words of the answer) for each file written."""

import gzip
import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reliability.damaged_checkpoints import png

Content = bytes | Callable[[], bytes]  # what takes long to make is made when it is written
_IDX = bytes([0, 0, 8, 3]) + struct.pack(">III", 20, 28, 28) + bytes(range(256)) * 61 + bytes(64)
_LABELS = bytes([0, 0, 8, 1]) + struct.pack(">I", 20) + bytes(i % 10 for i in range(20))


def _flip(whole: bytes, place: int) -> bytes:
    place %= len(whole)
    return whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :]


@cache
def bomb(size: int = 1 << 31) -> bytes:
    """A gzip file of so many zeros, of a thousandth of the size."""
    block = gzip.compress(bytes(1 << 24))
    return block * (size >> 24)


def _common(whole: bytes) -> dict[str, Content]:
    """Damage that any file can have."""
    return {
        "empty": b"",
        "one byte": whole[:1],
        "cut": whole[: len(whole) // 2],
        "text": b"hello\nthere\n",
        "picture": png(),
        "zeros": bytes(2000),
        "gzip of nothing": gzip.compress(b""),
        "cut gzip": gzip.compress(whole)[:-9],
        "flipped gzip": _flip(gzip.compress(whole), -6),
        "gzip bomb": bomb,
    }


def _npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _npy(value: Any, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=allow_pickle)
    return buffer.getvalue()


def _header(shape: str, dtype: str = "|u1") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def _zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


@cache
def _npz_bomb() -> bytes:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("images.npy", "w", force_zip64=True) as f,
    ):
        f.write(_header(f"({1 << 21}, 1024)"))
        for _ in range(1 << 7):
            f.write(bytes(1 << 24))
    return buffer.getvalue()


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("executed"),)


_IMAGES = np.arange(20 * 28 * 28, dtype=np.uint8).reshape(20, 28, 28)
ARRAYS: dict[str, Content] = {
    **_common(_npz(images=_IMAGES)),
    "flipped": _flip(_npz(images=_IMAGES), 60),
    "10^12 rows": _header("(1000000000000, 28, 28)"),
    "10^12 rows in a zip": _zipped(images=_header("(1000000000000, 28, 28)")),
    "10^30 rows in a zip": _zipped(images=_header("(1" + "0" * 30 + ", 28, 28)")),
    "negative rows": _header("(-5, 28, 28)"),
    "zip bomb": _npz_bomb,
    "pickled": _npy(np.array([_Code()], dtype=object), allow_pickle=True),
    "pickled in a zip": _zipped(images=_npy(np.array([_Code()], dtype=object), allow_pickle=True)),
    "code in the header": _header("__import__('os').system('touch executed')"),
    "other arrays": _npz(a=_IMAGES, b=_IMAGES),
    "words": _npy(np.array(["a", "b"])),
    "NaN": _npy(np.full((20, 28, 28), np.nan)),
}
_TABLE = "label,a,b,c,d\n" + "".join(f"{i % 2},{i / 20},0.5,0,1\n" for i in range(20))
TABLES: dict[str, Content] = {
    **_common(_TABLE.encode()),
    "binary": bytes(range(256)) * 8,
    "cut in a row": _TABLE.encode()[:-3],
    "a row too long": (_TABLE + "1,2,3,4,5,6\n").encode(),
    "no numbers": _TABLE.replace("0.5", "half").encode(),
    "names alone": b"label,a,b,c,d\n",
    "infinite": _TABLE.replace("0.5", "inf").encode(),
    "a cell of 200 KB": _TABLE.encode() + b"0," + b"1" * 200_000 + b",0,0,0\n",
    "open quote": _TABLE.encode() + b'0,"1,0,0,0\n' * 3,
}
_FASTA = b">a first\nACGTACGTACGTACGTACGTACGTACGTACGT\n"
SEQUENCES: dict[str, Content] = {
    **{name: content for name, content in _common(_FASTA).items() if name != "cut"},  # is a shorter sequence
    "no sequence": b">a first\n>b second\n",
    "protein": b">a\nMKVLAAGIVQQ\n",
    "digits": b">a\n1234567890\n",
    "FASTQ cut short": b"@a\nACGTACGT\n+\nIII\n",
    "UTF-16 cut": _FASTA.decode().encode("utf-16")[:21],
}
_JASPAR = b">MA0001.1 X\nA [ 1 2 3 ]\nC [ 3 2 1 ]\nG [ 0 1 2 ]\nT [ 4 3 2 ]\n"
_MEME = (
    b"MEME version 4\n\nALPHABET= ACGT\n\nMOTIF X\nletter-probability matrix: alength= 4 w= 2 nsites= 9\n"
    b" 0.1 0.2 0.3 0.4\n 0.25 0.25 0.25 0.25\n"
)
MOTIFS: dict[str, Content] = {
    **_common(_JASPAR),
    "a row missing": _JASPAR[: _JASPAR.find(b"T [")],
    "rows of two lengths": _JASPAR.replace(b"3 2 1", b"3 2"),
    "words": _JASPAR.replace(b"3 2 1", b"x y z"),
    "negative": _JASPAR.replace(b"3 2 1", b"3 -2 1"),
    "NaN": _JASPAR.replace(b"3 2 1", b"3 nan 1"),
    "MEME cut": _MEME[:-30],
    "MEME without a matrix": _MEME[: _MEME.find(b"letter")],
    "MEME of 10^12 rows": _MEME.replace(b"w= 2", b"w= 1000000000000"),
    "TRANSFAC cut": b"ID x\nP0 A C G T\n01 1 2 3\n",
}
TEXTS: dict[str, Content] = {
    "empty": b"",
    "blank": b"\n  \n",
    "a few letters": b"hi\n",
    "UTF-16 cut": "hello there".encode("utf-16")[:-1],
}
PICTURES: dict[str, Content] = {
    **{name: content for name, content in _common(png()).items() if "picture" not in name and "gzip" not in name},
    "flipped pixel data": b"",  # made below, of a larger picture
    "claims 10^9 x 10^9": png()[:16] + struct.pack(">II", 10**9, 10**9) + png()[24:],
}
ARCHITECTURES: dict[str, Content] = {
    "empty": b"",
    "text": b"hello",
    "list": b"[1, 2]",
    "null": b"null",
    "nested": b"[" * 100_000,
    "binary": bytes(range(256)),
    "10 MB": b'{"a": "' + b"x" * 10_000_000 + b'"}',
    "no decision": b'{"decision": 5}',
    "operations are numbers": b'{"operations": [1, 2], "architecture": [1, 2], "decision": {"a": 5}}',
    "decision of words": b'{"decision": {"a": ["x"]}, "architecture": "x", "operations": "x"}',
    "infinite": b'{"decision": {"a": [Infinity]}, "architecture": [Infinity], "operations": [NaN]}',
}


def _pixels() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.random.RandomState(0).randint(0, 255, (28, 28), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _codes() -> dict[str, Content]:
    whole = _npz(codes=np.zeros((4, 7, 7), np.int64))
    damage = {**_common(whole), "flipped": _flip(whole, 60)}
    return {
        **damage,
        "no codes": _npz(codes=np.zeros((0, 7, 7), np.int64)),
        "codes out of range": _npz(codes=np.full((4, 7, 7), 10**12)),
        "codes of another size": _npz(codes=np.zeros((4, 3), np.int64)),
        "codes are pictures": _npz(codes=np.zeros((4, 7, 7), np.float32)),
        "pickled": _zipped(codes=_npy(np.array([_Code()], dtype=object), allow_pickle=True)),
        "zip bomb": _npz_bomb,
        "10^12 codes": _zipped(codes=_header("(1000000000000, 7, 7)", "<i8")),
    }


Write = Callable[[str, bytes], Path]  # of a name and the content


def cases(write: Write, wanted: Callable[[str], bool]) -> Iterator[tuple[str, list[str], str]]:
    """Each case: its name, the command, and what its answer has to name."""
    vq = ["fit", "-c", "small.yaml"]
    pixels = {**_common(_IDX), "flipped": _flip(_IDX, 3), "10^12 pixels": _IDX[:4] + b"\xff" * 12 + _IDX[16:]}
    for name, content in _made(pixels, wanted, "idx train", "idx t10k-"):
        for file in ("train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
            folder = f"idx {name} {file[:5]}/mnist"
            for each in ("train-images-idx3", "t10k-images-idx3", "train-labels-idx1", "t10k-labels-idx1"):
                write(f"{folder}/{each}-ubyte", _IDX if "images" in each else _LABELS)
            path = write(f"{folder}/{file}", content)
            yield (
                f"idx {file[:5]}: {name}",
                [*vq, "--data=MNIST", f"--data.folder={path.parent.parent}", "--data.download=false"],
                "ubyte",
            )
    for name, content in _made(ARRAYS, wanted, "npz"):
        suffix = "npy" if content.startswith(b"\x93NUMPY") else "npz"
        path = write(f"arrays {name}.{suffix}", content)
        yield f"npz: {name}", [*vq, "--data=Arrays", f"--data.path={path}"], path.name
    for name, content in _made(TABLES, wanted, "csv", "csv of features"):
        suffix = ".csv.gz" if content.startswith(b"\x1f\x8b") else ".csv"
        path = write(f"table {name}{suffix}", content)
        yield f"csv: {name}", [*vq, "--data=CSVTable", f"--data.path={path}", "--data.shape=[1,2,2]"], path.name
        target = ["--data=FeatureTable", f"--data.file={path}", "--data.target=label"]
        yield f"csv of features: {name}", ["fit", "-c", "selection.yaml", *target], path.name
    for name, content in _made(PICTURES, wanted, "png"):
        whole = _pixels()
        place = whole.find(b"IDAT") + 200
        for i in range(6):
            write(f"pictures {name}/{i}.png", whole)
        path = write(f"pictures {name}/2.png", _flip(whole, place) if name == "flipped pixel data" else content)
        yield (
            f"png: {name}",
            [*vq, "--data=ImageFolder", "--data.batch_size=2", f"--data.folder={path.parent}"],
            path.name,
        )
    for name, content in _made(SEQUENCES, wanted, "fasta"):
        path = write(f"start {name}.fasta", content)
        yield (
            f"fasta: {name}",
            ["fit", "-c", "design.yaml", "--model.start=Edit", f"--model.start.sequence={path}"],
            path.name,
        )
    for name, content in _made(MOTIFS, wanted, "motif"):
        path = write(f"motif {name}.jaspar", content)
        motif = ["--model.oracle=MotifScan", f"--model.oracle.motif={path}"]
        yield f"motif: {name}", ["fit", "-c", "design.yaml", *motif], path.name
    for name, content in _made(TEXTS, wanted, "txt"):
        path = write(f"text {name}.txt", content)
        yield f"txt: {name}", ["fit", "-c", "text/quickstart", "--data=TextFiles", f"--data.files={path}"], "text"
    for name, content in _made(ARCHITECTURES, wanted, "architecture.json"):
        path = write(f"architecture {name}.json", content)
        yield f"architecture.json: {name}", ["fit", "-c", "retrain.yaml", f"--model.architecture={path}"], path.name
    for name, content in _made(_codes(), wanted, "codes"):
        path = write(f"codes {name}.npz", content)
        yield f"codes: {name}", ["decode", "-c", "run", f"--codes={path}"], "codes"


def _made(table: dict[str, Content], wanted: Callable[[str], bool], *kinds: str) -> Iterator[tuple[str, bytes]]:
    """Names and contents of those entries that are wanted as one of the kinds."""
    for name, content in table.items():
        if any(wanted(f"{kind}: {name}") for kind in kinds):
            yield name, content() if callable(content) else content
