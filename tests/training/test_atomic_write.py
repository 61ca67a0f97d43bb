"""Files of a run: whole at every moment, also on a full disk."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch
from torch import Tensor

from discrete_lightning.training.atomic_write import WriteError, atomic_write, write_table, write_text
from discrete_lightning.training.metrics_file import MetricsFile


@contextmanager
def small_disk() -> Iterator[None]:
    """No file can be larger than 64 KiB, which the system refuses as it refuses a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


WRITERS: dict[str, Callable[[BinaryIO, Tensor], object]] = {
    "torch": lambda file, values: torch.save({"weights": values}, file),
    "numpy": lambda file, values: np.savez_compressed(file, weights=values.numpy()),
    "bytes": lambda file, values: file.write(values.numpy().tobytes()),
}


def write(path: Path, writer: Callable[[BinaryIO, Tensor], object]) -> None:
    with atomic_write(path) as file:
        writer(file, torch.randn(100_000))


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_leaves_the_file_of_before(tmp_path: Path, writer: Callable[[BinaryIO, Tensor], object]) -> None:
    path = tmp_path / "last.ckpt"
    write_text(path, "good")
    with small_disk(), pytest.raises(WriteError) as caught:
        write(path, writer)
    assert str(caught.value) == f"{path} could not be written: File too large; what it held before is unchanged"
    assert path.read_text() == "good"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_seen_before_it_is_whole(tmp_path: Path) -> None:
    def fail(file: BinaryIO, values: Tensor) -> None:
        file.write(b"half")
        raise ZeroDivisionError

    path = tmp_path / "deep" / "codes.npz"
    with pytest.raises(ZeroDivisionError):
        write(path, fail)
    assert not list(path.parent.iterdir())
    with atomic_write(path) as file:
        file.write(b"codes")
        assert not path.exists()
    assert path.read_bytes() == b"codes"


def test_a_link_is_replaced_and_not_what_it_points_to(tmp_path: Path) -> None:
    write_text(tmp_path / "best.ckpt", "best")
    (tmp_path / "last.ckpt").symlink_to("best.ckpt")
    write_text(tmp_path / "last.ckpt", "last")
    assert (tmp_path / "best.ckpt").read_text() == "best"


def test_tables(tmp_path: Path) -> None:
    write_table(tmp_path / "a.csv", ["name", "score"], [{"name": "a, b", "score": 1}, {"name": "c"}])
    assert (tmp_path / "a.csv").read_text().splitlines() == ["name,score", '"a, b",1', "c,"]


def test_metrics_of_a_training_stay_when_its_test_has_a_logger_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    training = MetricsFile(tmp_path)
    training.log_metrics({"train/loss": 1.0}, 0)
    training.save()
    training.log_metrics({"train/loss": 0.5, "val/loss": 2.0}, 1)
    training.save()
    test = MetricsFile(tmp_path)  # as in another process
    test.log_metrics({"test/loss": 3.0}, 2)
    test.save()
    lines = ["step,test/loss,train/loss,val/loss", "0,,1.0,", "1,,0.5,2.0", "2,3.0,,"]
    assert path.read_text().splitlines() == lines
    for step in range(10_000):
        test.experiment.log_metrics({"test/loss": 3.0}, step)
    with small_disk(), pytest.raises(WriteError, match=r"metrics\.csv could not be written: File too large"):
        test.save()
    assert path.read_text().splitlines() == lines  # without half a row
