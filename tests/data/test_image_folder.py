"""Folders of image files as people have them."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from discrete_lightning.data import DataError, ImageFolder
from discrete_lightning.models import VQAutoencoder
from discrete_lightning.nn import VectorQuantizer
from discrete_lightning.training.check_data import check_data
from tests.tiny_images import quiet_trainer

RANDOM = np.random.RandomState(0)


def noise(*shape: int, top: int = 256) -> Any:
    return RANDOM.randint(0, top, shape)


def save(path: Path, values: Any, mode: str = "", **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def read(path: Path, **arguments: Any) -> Tensor:
    image: Tensor = ImageFolder(str(path.parent), validation=0, test=0, **arguments).dataset("train")[0]
    return image


def colours(count: int = 12, height: int = 12, width: int = 10) -> list[Any]:
    return [noise(height, width, 3).astype(np.uint8) for _ in range(count)]


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "TIFF", "webp", "jpg"])
def test_bytes_are_divided_by_255(tmp_path: Path, suffix: str) -> None:
    values = np.full((6, 4), 51, np.uint8)
    image = read(save(tmp_path / f"a.{suffix}", values), channels=1)
    assert (image.shape, image.dtype) == ((1, 6, 4), torch.float32)
    assert torch.allclose(image, torch.full_like(image, 0.2), atol=0.5 / 255)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_keep_their_precision(tmp_path: Path, suffix: str) -> None:
    values = noise(6, 4, top=65536).astype(np.uint16)
    path = save(tmp_path / f"a.{suffix}", values)
    assert torch.equal(read(path)[0], torch.from_numpy(values.astype(np.float32) / np.float32(65535)))
    with pytest.raises(DataError, match=r"a\.\w+: uint16 pixels, .* expected at most max_value=4095"):
        read(path, max_value=4095)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((4, 4), 700, np.int32), "int32 pixels, 700 to 700: set max_value"),
        (np.full((4, 4), 3.5, np.float32), "float32 pixels, 3.5 to 3.5: set max_value"),
        (np.full((4, 4), -0.5, np.float32), "float32 pixels, -0.5 to -0.5: expected 0 or more"),
        (np.full((4, 4), np.nan, np.float32), "pixels that are NaN"),
    ],
)
def test_what_is_not_known_is_not_guessed(tmp_path: Path, values: Any, message: str) -> None:
    path = save(tmp_path / "a.tif", values)
    with pytest.raises(DataError, match=f"{path}: {message}"):
        read(path)


def test_transparent_pixels_are_white_and_palettes_are_colours(tmp_path: Path) -> None:
    red = np.zeros((4, 4, 4), np.uint8)
    red[..., 0] = 255
    red[:2, :, 3] = 255  # the upper half is opaque
    path = save(tmp_path / "a" / "a.png", red)
    assert read(path).shape == (4, 4, 4)
    three = read(path, channels=3)
    assert three[:, 0, 0].tolist() == [1, 0, 0]
    assert three[:, 3, 0].tolist() == [1, 1, 1]
    assert read(path, channels=1)[0, 3, 0] == pytest.approx(1)
    palette = save(tmp_path / "b" / "a.png", red[:2, :, :3].copy(), "P")
    assert torch.equal(read(palette), three[:, :2])


def test_crop_keeps_the_aspect_ratio_and_stretch_does_not(tmp_path: Path) -> None:
    values = np.zeros((10, 30), np.uint8)
    values[:, 10:20] = 255  # the middle third
    path = save(tmp_path / "a.png", values)
    assert read(path, size=10).min() == 1
    assert read(path, size=(10, 12), resize="stretch")[0, :, [0, -1]].max() == 0


def test_a_rotated_photograph_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    path = save(tmp_path / "a.png", np.zeros((4, 8), np.uint8), exif=exif)
    assert read(path).shape == (1, 8, 4)


def test_class_folders_and_split_folders(tmp_path: Path) -> None:
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        for name in ("dog", "cat"):
            for i in range(count):
                save(tmp_path / split / name / f"{i}.png", np.full((4, 4), 200 if name == "dog" else 100, np.uint8))
    data = ImageFolder(str(tmp_path), batch_size=4)
    images, labels = next(iter(data.train_dataloader()))
    assert (data.class_names, data.image_shape) == (("cat", "dog"), (1, 4, 4))
    assert labels.dtype == torch.int64
    assert torch.equal(labels, (images[:, 0, 0, 0] > 0.5).long())
    assert [len(data.dataset(split)) for split in ("train", "validation", "test")] == [8, 4, 6]
    assert ImageFolder(str(tmp_path), labels=False).dataset("test")[0].shape == (1, 4, 4)
    save(tmp_path / "val" / "cow" / "1.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(DataError, match="cow: a class without training images; there are cat, dog"):
        ImageFolder(str(tmp_path)).setup()


def test_the_split_is_a_function_of_the_seed_and_whole(tmp_path: Path) -> None:
    for i in range(20):
        save(tmp_path / f"{i:02d}.png", np.full((2, 2), i, np.uint8))

    def split(seed: int) -> dict[str, list[int]]:
        data = ImageFolder(str(tmp_path), validation=0.2, test=0.1, seed=seed)
        names = ("train", "validation", "test")
        return {name: [round(float(each[0, 0, 0]) * 255) for each in data.dataset(name)] for name in names}  # type: ignore[arg-type]

    first = split(0)
    assert first == split(0) != split(1)
    assert {name: len(each) for name, each in first.items()} == {"train": 14, "validation": 4, "test": 2}
    assert sorted(i for each in first.values() for i in each) == list(range(20))


def test_what_lies_beside_images_is_left_alone(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.zeros((2, 2), np.uint8))
    for name in ("._a.png", ".DS_Store", "notes.txt", ".hidden/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no image")
    assert read(path).shape == (1, 2, 2)
    assert len(ImageFolder(str(tmp_path), validation=0, test=0).dataset("train")) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, r"expected images \(.png, .*\), found no files"),
        (lambda root: (root / "a.txt").touch(), "found only .txt"),
        (lambda root: (root / "a.png").write_text("x"), r"a.png: cannot be read: no image.*Remove or replace the file"),
        (
            lambda root: [save(root / f"{i}.png", noise(4 + i, 4).astype(np.uint8)) for i in (0, 1)],
            r"1.png: .* set size",
        ),
        (
            lambda root: [
                save(root / "0.png", noise(4, 4).astype(np.uint8)),
                save(root / "1.png", colours(1, 4, 4)[0]),
            ],
            r"1.png: 3 channels of 4 x 4, while .*0.png has 1 channel of 4 x 4: set channels to 1 or 3",
        ),
        (
            lambda root: [save(root / "0.png", colours(1)[0]), save(root / "a" / "1.png", colours(1)[0])],
            "0.png: lies beside folders of images: set labels=false",
        ),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, make: Any, message: str) -> None:
    make(tmp_path)
    with pytest.raises(DataError, match=message):
        list(ImageFolder(str(tmp_path), validation=0, test=0, batch_size=1).train_dataloader())


def test_several_pages_and_a_damaged_file(tmp_path: Path) -> None:
    pages = [Image.fromarray(each) for each in colours(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match=r"a\.tif: expected one image, found 3 pages"):
        ImageFolder(str(tmp_path)).setup()
    path = save(tmp_path / "b" / "b.png", colours(1)[0])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"b\.png: cannot be read: image file is truncated"):
        read(path)
    # as a loader's worker process hands it over
    error = DataError("Caught DataError in DataLoader worker process 0.\nOriginal ...\nx.DataError: b.png: cannot.\n")
    assert str(error) == "b.png: cannot."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size=0: expected a height"),
        ({"channels": 2}, "channels=2: expected 1, 3 or 4"),
        ({"resize": "pad"}, "resize='pad': expected 'crop' or 'stretch'"),
        ({"max_value": 0}, "max_value=0: expected a number above 0"),
        ({"validation": 1.0}, r"validation=1.0: expected a share .* in \[0, 1\)"),
        ({"validation": 0.5, "test": 0.5}, "leave something to train on"),
        ({"num_workers": 1_000_000}, "num_workers=1000000: expected 0 .* cores"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageFolder("nowhere", **arguments)


def test_no_folder() -> None:
    with pytest.raises(DataError, match="nowhere: there is no such folder of images"):
        ImageFolder("nowhere").setup()


def test_files_are_read_when_they_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(6):
        save(tmp_path / f"{i}.png", np.zeros((64, 64), np.uint8))
    data = ImageFolder(str(tmp_path), batch_size=1)
    opened: list[Any] = []
    original = Image.open
    monkeypatch.setattr(Image, "open", lambda path, *args: (opened.append(path), original(path, *args))[1])
    data.setup()
    assert len(opened) == 1  # for the shape
    assert len(pickle.dumps(data.dataset("train"))) < 64 * 64


def test_trains_a_codebook_on_colour_images(tmp_path: Path) -> None:
    for i, values in enumerate(colours(20)):
        save(tmp_path / f"{i}.png", values)
    data = ImageFolder(str(tmp_path), size=8, batch_size=4)
    model = VQAutoencoder(VectorQuantizer(4, 4), hidden=4, channels=3)
    check_data(model, data)
    trainer = quiet_trainer()
    trainer.fit(model, data)
    assert "val/reconstruction" in trainer.callback_metrics
    predicted = trainer.predict(model, data)
    assert [set(each) for each in predicted or []] == [{"codes"}]  # no labels, none made up
    with pytest.raises(
        ValueError, match=r"takes images of 1 channel, and the data serves \(4, 3, 8, 8\): set channels=3"
    ):
        check_data(VQAutoencoder(VectorQuantizer(4, 4), hidden=4), data)
    with pytest.raises(
        ValueError, match="multiples of 4, and the data serves images of 10 x 10: resize them to 8 x 8 or 12"
    ):
        check_data(model, ImageFolder(str(tmp_path), size=10, batch_size=4))
