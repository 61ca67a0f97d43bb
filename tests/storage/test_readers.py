"""Files are read without running code: who reads them, and how, in the whole package."""

import ast
import gzip
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import discrete_lightning
from discrete_lightning.storage import gunzip as module
from discrete_lightning.storage import shipped
from discrete_lightning.storage.arrays import read_arrays
from discrete_lightning.storage.gunzip import PackedError, gunzip
from discrete_lightning.storage.json_file import read_json
from discrete_lightning.storage.shipped import InstallationError, shipped_bytes

PACKAGE = Path(discrete_lightning.__file__).parent


def _calls() -> Iterator[tuple[str, str, ast.Call]]:
    """(file, name of the function, call) of every call `a.b(...)` in the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield path.relative_to(PACKAGE).as_posix(), ast.unparse(node.func), node


def test_nothing_reads_pickles() -> None:
    calls = list(_calls())
    assert len(calls) > 1000
    for file, name, call in calls:
        options = {each.arg: ast.unparse(each.value) for each in call.keywords}
        if name in ("torch.load", "np.load", "numpy.load"):
            key = "weights_only" if name == "torch.load" else "allow_pickle"
            expected = {"torch.load": ("True", "weights_only"), "np.load": ("False",)}[name.replace("numpy", "np")]
            assert options.get(key) in expected, f"{file}: {name} without {key}"
        assert name not in ("eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "shelve.open"), (
            file
        )
        if (file, name) == ("training/requeue.py", "subprocess.run"):
            continue  # SLURM's own `scontrol requeue`
        assert not name.startswith(("pickle.", "subprocess.", "marshal.", "tarfile.", "shutil.unpack")), (
            f"{file}: {name}"
        )


def test_gunzip_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST", 1 << 16)
    assert gunzip(gzip.compress(bytes(1 << 16))) == bytes(1 << 16)
    with pytest.raises(PackedError, match="unpack to more than 65,536"):
        gunzip(gzip.compress(bytes((1 << 16) + 1)))
    for damaged in (gzip.compress(b"abc")[:-1], gzip.compress(b"abc") + b"x", b"\x1f\x8bx"):
        with pytest.raises(PackedError, match="do not unzip"):
            gunzip(damaged)


def test_arrays_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.zeros(1 << 17, np.uint8))
    assert read_arrays(path)["a"].sum() == 0
    monkeypatch.setattr(module, "LEAST", 1 << 16)
    with pytest.raises(PackedError, match="unpack to more than"):
        read_arrays(path)
    np.save(tmp_path / "b.npy", np.arange(3))
    assert isinstance(read_arrays(tmp_path / "b.npy"), np.memmap)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY no header")
    for content in (path.read_bytes(), b"", b"text"):
        path.write_bytes(content)
        with pytest.raises(PackedError):
            read_arrays(path)


def test_json_has_bounds(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(path) == {"a": 1}
    for content in (b"[" * 100_000, b"", b"\xff", b"{"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"deeply|Expecting|decode"):
            read_json(path)


def test_what_is_shipped_has_its_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped_files = {
        path.relative_to(PACKAGE).as_posix()
        for suffix in ("npz", "xz", "jaspar")
        for path in PACKAGE.rglob(f"*.{suffix}")
    }
    assert shipped_files <= set(shipped._DIGESTS)
    for name in shipped._DIGESTS:
        assert shipped_bytes(name)
    shipped_bytes.cache_clear()
    monkeypatch.setattr(Path, "read_bytes", lambda path: b"damaged")
    with pytest.raises(InstallationError, match="install discrete_lightning again"):
        shipped_bytes("design/oracles/gb1.npz")
