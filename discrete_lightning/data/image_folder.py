"""A folder of image files."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from discrete_lightning.data.errors import DataError
from discrete_lightning.data.image_file import Channels, ImageFormat, Resize, pillow
from discrete_lightning.data.splits import FOLDERS, DrawnSplits, Split

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".pbm")


class ImageFolder(DrawnSplits):
    """The images of a folder: PNG, JPEG, TIFF, BMP, WebP and others, grey, colour, with alpha or a palette, of 8 or 16 bits.

    Either the folder has `train/` and maybe `val/` and `test/`, or all images are one set; splits that are not there are drawn
    from the training images. In each, images lie in one folder for each class, or without labels. Files are read when they are
    needed; memory does not grow with their number. Batches are `(images, labels)`, or images where there are no labels:
    float32 (B, C, H, W) in [0, 1] and int64 (B,), the position of the class in `class_names`.

    Args:
        folder: of the images.
        size: height and width, or one number for both; None if all images have one size.
        channels: 1 (grey), 3 (red, green, blue) or 4 (and alpha); None keeps what the files have. For 1 and 3 transparent
            pixels are laid on white. Colours of 16 bits are read as 8 bits, grey values as they are.
        resize: "crop" keeps the aspect ratio and cuts off what is beyond the middle; "stretch" does not.
        max_value: the value that becomes 1; by default 255 in files of 8 bits, 65,535 in files of 16. Needed for 32 bits, and
            useful for cameras of 12 bits (4095).
        labels: whether the folders are classes; None means where all images lie in folders.
        validation: share of the training images, in [0, 1), where there is no such folder.
        test: likewise.
        batch_size: images a batch and device, 1 or more.
        num_workers: processes that read files.
        seed: of the split, which depends on the names of the files and on nothing else.

    Raises:
        ValueError: an argument is out of its range.
        DataError: the folder has no images or no usable layout, or (when it is read) an image cannot be read or does not have
            the size and the channels of the first one; the message names the file.

    Attributes:
        class_names: of the labels, sorted; empty without labels.
        image_shape: (C, H, W).

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> root = tempfile.mkdtemp()
        >>> for i in range(10):
        ...     Image.new("RGB", (40, 30), (25 * i, 0, 0)).save(f"{root}/{i}.png")
        >>> data = ImageFolder(root, size=16, batch_size=4)
        >>> next(iter(data.train_dataloader())).shape
        torch.Size([4, 3, 16, 16])
    """

    def __init__(
        self,
        folder: str,
        size: int | tuple[int, int] | None = None,
        channels: Channels | None = None,
        resize: Resize = "crop",
        max_value: float | None = None,
        labels: bool | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        batch_size: int = 64,
        *,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(validation, test, batch_size, num_workers, seed)
        self.folder, self.labels = folder, labels
        self.format = image_format(size, channels, resize, max_value)

    def build(self) -> dict[Split, Dataset[Any]]:
        pillow()
        root = Path(self.folder).expanduser()
        if not root.is_dir():
            raise DataError(f"{root}: there is no such folder of images (the working directory is {Path.cwd()}).")
        folders = _split_folders(root)
        files = {split: _images(folder) for split, folder in folders.items()}
        for split, names in files.items():
            if not names:
                raise DataError(
                    f"{folders[split]}: expected images ({', '.join(SUFFIXES)}), found {_held(folders[split])}."
                )
        labelled = self._labelled(folders, files)
        if labelled:
            self.class_names = tuple(sorted({name.split(os.sep)[0] for name in files["train"]}))
        found: dict[Split, Dataset[Any]] = {}
        first: tuple[Path, Tensor] | None = None
        for split, folder in folders.items():
            labels = self._numbers(folder, files[split]) if labelled else None
            first = first or (folder / files[split][0], self.format.read(folder / files[split][0]))
            found[split] = ImageFiles(folder, files[split], labels, self.format, (first[0], first[1].shape))
        assert first is not None
        self.image_shape = tuple(first[1].shape)
        return self.with_drawn(found, str(root))

    def _labelled(self, folders: dict[Split, Path], files: dict[Split, list[str]]) -> bool:
        bare = [folders[split] / name for split, names in files.items() for name in names if os.sep not in name]
        if self.labels is None and bare and any(os.sep in name for names in files.values() for name in names):
            raise DataError(f"{bare[0]}: lies beside folders of images: set labels=false to use all without labels.")
        if self.labels and bare:
            raise DataError(f"{bare[0]}: expected one folder for each class, since labels=true.")
        return not bare if self.labels is None else self.labels

    def _numbers(self, folder: Path, names: Sequence[str]) -> Any:
        number = {name: i for i, name in enumerate(self.class_names)}
        classes = [name.split(os.sep)[0] for name in names]
        unknown = sorted(set(classes) - set(number))
        if unknown:
            raise DataError(f"{folder / unknown[0]}: a class without training images; there are {', '.join(number)}.")
        return np.array([number[each] for each in classes], np.int64)


class ImageFiles(Dataset[Any]):
    """Image files, read when they are asked for.

    Args:
        folder: of all of them.
        names: relative to it.
        labels: int64 (N,), or None.
        format: what they are made to be.
        first: a file and the shape that all have to have.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], labels: Any, format: ImageFormat, first: tuple[Path, Sequence[int]]
    ) -> None:
        # One array, not a list of objects: reading those in a worker process would copy the list page by page
        self.folder, self.names, self.labels = folder, np.array([os.fsencode(name) for name in names]), labels
        self.format, self.first = format, (first[0], tuple(first[1]))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Any:
        """An image (C, H, W), with its label if there are labels."""
        path = self.folder / os.fsdecode(self.names[index])
        pixels = self.format.read(path)
        check_same(pixels, str(path), str(self.first[0]), self.first[1])
        return pixels if self.labels is None else (pixels, self.labels[index])


def check_same(pixels: Tensor, name: str, first: str, shape: tuple[int, ...]) -> None:
    """Raises DataError unless an image has the shape of the first one."""
    if tuple(pixels.shape) == shape:
        return
    sizes = [f"{c} channel{'s' * (c > 1)} of {height} x {width}" for c, height, width in (pixels.shape, shape)]
    advice = "set size" if pixels.shape[0] == shape[0] else "set channels to 1 or 3"
    raise DataError(f"{name}: {sizes[0]}, while {first} has {sizes[1]}: {advice}, so that all are made alike.")


def image_format(
    size: int | Sequence[int] | None, channels: Channels | None, resize: Resize, max_value: float | None
) -> ImageFormat:
    """The arguments of a data module of images, checked."""
    sizes = (size, size) if isinstance(size, int) else size
    if sizes is not None and (len(sizes) != 2 or min(sizes) < 1):
        raise ValueError(f"size={size}: expected a height and a width of 1 or more, or one number for both.")
    if channels not in (None, 1, 3, 4):
        raise ValueError(f"channels={channels}: expected 1, 3 or 4, or none to keep what the files have.")
    if resize not in ("crop", "stretch"):
        raise ValueError(f"resize={resize!r}: expected 'crop' or 'stretch'.")
    if max_value is not None and not max_value > 0:
        raise ValueError(f"max_value={max_value}: expected a number above 0.")
    return ImageFormat(None if sizes is None else (sizes[0], sizes[1]), channels, resize, max_value)


def _split_folders(root: Path) -> dict[Split, Path]:
    there = {each.name.lower(): each for each in sorted(root.iterdir()) if each.is_dir()}
    found = {split: [there[name] for name in names if name in there] for split, names in FOLDERS.items()}
    for folders in found.values():
        if len(folders) > 1:
            raise DataError(f"{folders[0]} and {folders[1]}: expected one of the two.")
    if not found["train"]:
        if found["validation"] and found["test"]:
            raise DataError(f"{root}: expected a folder train beside {found['validation'][0].name} and test.")
        return {"train": root}
    return {split: folders[0] for split, folders in found.items() if folders}


def _images(folder: Path) -> list[str]:
    names: list[str] = []
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [each for each in folders if not each.startswith(".")]
        inside = os.path.relpath(place, folder)
        prefix = "" if inside == "." else inside + os.sep
        names += [prefix + each for each in files if each.lower().endswith(SUFFIXES) and not each.startswith(".")]
    return sorted(names)


def _held(folder: Path) -> str:
    suffixes = sorted({Path(each).suffix or each for _, _, files in os.walk(folder) for each in files})
    return f"only {', '.join(suffixes[:5])}" if suffixes else "no files"
