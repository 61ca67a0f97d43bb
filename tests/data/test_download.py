import gzip
import hashlib
import http.client
import io
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from discrete_lightning.data import MNIST, DataError
from discrete_lightning.data.files import Source

FILE = "t10k-labels-idx1-ubyte"


@pytest.fixture
def small_mnist(monkeypatch: pytest.MonkeyPatch, contents: dict[str, bytes]) -> None:
    """MNIST whose published checksums are the made-up files', on two mirrors that are nowhere."""
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(MNIST, "source", Source("MNIST", ("mnist",), ("http://one/", "http://two/"), md5))


def serve(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], bytes]) -> list[str]:
    """Answer downloads with `answer(url)`, an exception or the body; returns the list that the urls will be put in."""
    urls: list[str] = []

    def urlopen(url: str, timeout: float) -> io.BytesIO:
        assert timeout > 0
        urls.append(url)
        return io.BytesIO(answer(url))

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return urls


def fail(error: Exception) -> Callable[[str], bytes]:
    def answer(_: str) -> bytes:
        raise error

    return answer


def written(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("small_mnist")
def test_downloads_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, contents: dict[str, bytes], put: Callable[..., Path]
) -> None:
    put(tmp_path / "mnist")
    (tmp_path / "mnist" / f"{FILE}.gz").unlink()
    urls = serve(monkeypatch, lambda url: gzip.compress(contents[Path(url).stem]))
    data = MNIST(folder=str(tmp_path), validation=15, batch_size=10)
    data.prepare_data()
    assert urls == [f"http://one/{FILE}.gz"]
    data.setup()
    assert len(data.dataset("test")) == 20
    data.prepare_data()
    assert len(urls) == 1


@pytest.mark.usefixtures("small_mnist")
@pytest.mark.parametrize("target", ["argument", "variable", "cache"])
def test_downloads_to_the_first_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, contents: dict[str, bytes], target: str
) -> None:
    serve(monkeypatch, lambda url: gzip.compress(contents[Path(url).stem]))
    roots = {name: tmp_path / name for name in ("argument", "variable")}
    roots["cache"] = Path("~/.cache/discrete_lightning").expanduser()
    if target != "cache":
        monkeypatch.setenv("DISCRETE_LIGHTNING_DATA", str(roots["variable"]))
    data = MNIST(folder=str(roots["argument"]) if target == "argument" else None, validation=15)
    data.prepare_data()
    assert written(tmp_path) == {f"{name}.gz" for name in contents}
    assert written(roots[target] / "mnist") == written(tmp_path)
    data.setup()


@pytest.mark.usefixtures("small_mnist")
@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(b"<html>moved</html>", id="a web page"),
        pytest.param(gzip.compress(b"other content"), id="other content"),
        pytest.param(gzip.compress(b"cut" * 100)[:-12], id="cut short"),
        pytest.param(urllib.error.URLError("no route"), id="unreachable"),
        pytest.param(TimeoutError("timed out"), id="too slow"),
        pytest.param(http.client.IncompleteRead(b"half"), id="broken off"),
    ],
)
def test_next_mirror_when_one_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, contents: dict[str, bytes], bad: Any
) -> None:
    def answer(url: str) -> bytes:
        if url.startswith("http://two/"):
            return gzip.compress(contents[Path(url).stem])
        if isinstance(bad, Exception):
            raise bad
        return bytes(bad)

    urls = serve(monkeypatch, answer)
    data = MNIST(folder=str(tmp_path), validation=15)
    data.prepare_data()
    data.setup()
    assert len(urls) == 8


def test_wrong_checksum_from_all_mirrors_is_rejected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    serve(monkeypatch, lambda _: gzip.compress(b"something else"))
    with pytest.raises(DataError, match="expected content with md5 6bbc9ace898e44ae57da46a324031adb, found: 14 bytes"):
        MNIST(folder=str(tmp_path)).prepare_data()
    assert written(tmp_path) == set()


def test_no_network_and_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DISCRETE_LIGHTNING_DATA", str(tmp_path / "variable"))
    urls = serve(monkeypatch, fail(urllib.error.URLError("Name or service not known")))
    with pytest.raises(DataError) as caught:
        MNIST(folder=str(tmp_path / "argument")).prepare_data()
    message = str(caught.value)
    places = [tmp_path / "argument", tmp_path / "variable", tmp_path / "home/.cache/discrete_lightning"]
    for part in [*map(str, places), *MNIST.source.mirrors, "Name or service not known"]:
        assert part in message
    for way in ("--data.folder", "DISCRETE_LIGHTNING_DATA", "connected machine", "--data Digits"):
        assert way in message
    assert len(urls) == len(MNIST.source.mirrors) >= 2
    assert written(tmp_path) == set()


@pytest.mark.usefixtures("small_mnist")
@pytest.mark.parametrize("failing", ["write_bytes", "replace"])
def test_nothing_half_written_is_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, contents: dict[str, bytes], failing: str
) -> None:
    serve(monkeypatch, lambda url: gzip.compress(contents[Path(url).stem]))

    def half(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    if failing == "write_bytes":
        monkeypatch.setattr(Path, "write_bytes", half)
    else:
        monkeypatch.setattr(os, "replace", lambda *_: fail(OSError(28, "No space left on device"))(""))
    with pytest.raises(DataError, match=r"mnist/.*\.gz: downloaded, but cannot be written: No space left"):
        MNIST(folder=str(tmp_path), validation=15).prepare_data()
    assert written(tmp_path) == set()


@pytest.mark.usefixtures("small_mnist")
def test_file_gets_its_name_when_it_is_complete(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, contents: dict[str, bytes]
) -> None:
    serve(monkeypatch, lambda url: gzip.compress(contents[Path(url).stem]))
    moved: list[tuple[Path, Path]] = []
    replace = os.replace

    def watch(partial: Path, target: Path) -> None:
        assert gzip.decompress(partial.read_bytes()) == contents[target.stem]
        assert partial.parent == target.parent
        assert not target.exists()
        moved.append((partial, target))
        replace(partial, target)

    monkeypatch.setattr(os, "replace", watch)
    MNIST(folder=str(tmp_path), validation=15).prepare_data()
    assert {target.stem for _, target in moved} == set(contents)


@pytest.mark.usefixtures("small_mnist")
def test_folder_that_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, contents: dict[str, bytes]
) -> None:
    serve(monkeypatch, lambda url: gzip.compress(contents[Path(url).stem]))
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        MNIST(folder=str(tmp_path / "file"), validation=15).prepare_data()
