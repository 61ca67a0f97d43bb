import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from discrete_lightning.data import MNIST, DataError, FashionMNIST, read_idx

# Read when the module is imported: the fixtures hide it from the tests
REAL = os.environ.get("DISCRETE_LIGHTNING_DATA") or None


def made_up(folder: Path, **arguments: Any) -> MNIST:
    return MNIST(batch_size=10, folder=str(folder), validation=15, download=False, verify=False, **arguments)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["mnist", "MNIST/raw", "."])
def test_found_in_every_layout(tmp_path: Path, put: Callable[..., Path], place: str, zipped: bool) -> None:
    put(tmp_path / "root" / place, zipped)
    data = made_up(tmp_path / "root")
    data.prepare_data()
    data.setup()
    assert [len(data.dataset(split)) for split in ("train", "validation", "test")] == [45, 15, 20]


@pytest.mark.parametrize("place", ["fashion-mnist", "FashionMNIST/raw"])
def test_fashion_has_places_of_its_own(tmp_path: Path, put: Callable[..., Path], place: str) -> None:
    put(tmp_path / place)
    FashionMNIST(folder=str(tmp_path), validation=15, verify=False, download=False).setup()
    with pytest.raises(DataError, match="MNIST: expected train-images"):
        made_up(tmp_path).setup()


def test_places_are_tried_in_order(tmp_path: Path, put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    cache = put(Path("~/.cache/discrete_lightning/mnist").expanduser())
    assert cache.is_relative_to(tmp_path)
    data = MNIST(validation=15, verify=False, download=False)
    assert len(data.dataset("test")) == 20

    # A damaged file earlier in the order is an error and not passed over
    for root, find in (("variable", MNIST), ("argument", lambda **a: MNIST(folder=str(tmp_path / "argument"), **a))):
        folder = put(tmp_path / root / "mnist")
        (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"damaged")
        if root == "variable":
            monkeypatch.setenv("DISCRETE_LIGHTNING_DATA", str(tmp_path / root))
        with pytest.raises(DataError, match=f"{root}/mnist/t10k-labels-idx1-ubyte.gz: expected an IDX file"):
            find(validation=15, verify=False, download=False).setup()


def test_the_last_training_images_validate(tmp_path: Path, put: Callable[..., Path]) -> None:
    put(tmp_path)
    data = made_up(tmp_path)
    images = read_idx(tmp_path / "train-images-idx3-ubyte.gz")
    assert torch.equal(data.dataset("train").pixels, images[:45])
    assert torch.equal(data.dataset("validation").pixels, images[45:])
    assert data.dataset("validation").labels.tolist() == [5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_no_validation(tmp_path: Path, put: Callable[..., Path]) -> None:
    put(tmp_path)
    data = MNIST(batch_size=10, folder=str(tmp_path), validation=0, verify=False)
    assert len(data.train_dataloader()) == 6
    assert data.val_dataloader() == []


def test_found_files_are_verified(tmp_path: Path, put: Callable[..., Path]) -> None:
    put(tmp_path)
    data = MNIST(folder=str(tmp_path))
    data.prepare_data()
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: expected content with md5 6bbc9ace.*, found: "):
        data.setup()


def test_missing_without_download_is_found_out_before_training(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="download=False") as caught:
        made_up(tmp_path).prepare_data()
    assert str(tmp_path) in str(caught.value)


def test_images_and_labels_of_different_number(tmp_path: Path, put: Callable[..., Path]) -> None:
    put(tmp_path)
    labels = tmp_path / "train-labels-idx1-ubyte.gz"
    labels.write_bytes((tmp_path / "t10k-labels-idx1-ubyte.gz").read_bytes())
    with pytest.raises(DataError, match="found 60 images and 20 labels in the training files"):
        made_up(tmp_path).setup()


def test_validation_larger_than_the_files(tmp_path: Path, put: Callable[..., Path]) -> None:
    put(tmp_path)
    with pytest.raises(DataError, match="more than validation=60, found 60 images"):
        MNIST(folder=str(tmp_path), validation=60, verify=False).setup()


@pytest.mark.parametrize("validation", [-1, 60_000])
def test_validation_out_of_range(validation: int) -> None:
    with pytest.raises(ValueError, match=f"validation={validation}: expected 0 to 59,999"):
        MNIST(validation=validation)


@pytest.mark.parametrize("module", [MNIST, FashionMNIST])
def test_names(module: type[MNIST]) -> None:
    assert module.image_shape == (1, 28, 28)
    assert len(set(module.class_names)) == module.num_classes == 10


@pytest.mark.skipif(REAL is None, reason="DISCRETE_LIGHTNING_DATA names no folder with the real files")
@pytest.mark.parametrize(("module", "mean"), [(MNIST, 0.1307), (FashionMNIST, 0.2860)])
def test_real_data(module: type[MNIST], mean: float) -> None:
    data = module(folder=REAL, download=False)
    data.prepare_data()
    data.setup()
    assert [len(data.dataset(split)) for split in ("train", "validation", "test")] == [55_000, 5_000, 10_000]
    assert data.dataset("test").labels.bincount(minlength=10).min() > 800
    # The published mean of the 60,000 training images, which both splits of it share to two digits
    assert float(data.dataset("train").pixels.float().mean() / 255) == pytest.approx(mean, abs=2e-3)


@pytest.mark.skipif(REAL is None, reason="DISCRETE_LIGHTNING_DATA names no folder with the real files")
def test_real_data_of_the_other_set_is_refused(tmp_path: Path) -> None:
    folder = Path(str(REAL)) / "mnist"
    for path in folder.glob("*-ubyte*"):
        (tmp_path / path.name).symlink_to(path)
    with pytest.raises(DataError, match=r"train-images.*expected content with md5 f4a8712d"):
        FashionMNIST(folder=str(tmp_path)).setup()
