"""One image, of any file format that Pillow reads, as a tensor."""

import os
import struct
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from discrete_lightning.data.errors import DataError
from discrete_lightning.data.pixels import to_unit

Resize = Literal["crop", "stretch"]
Channels = Literal[1, 3, 4]
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True)
class ImageFormat:
    """What images are made to be, see `ImageFolder` for the arguments."""

    size: tuple[int, int] | None = None
    channels: Channels | None = None
    resize: Resize = "crop"
    max_value: float | None = None

    def read(self, path: str | PathLike[str]) -> Tensor:
        """The image in a file, float32 (C, H, W) in [0, 1].

        Raises:
            DataError: it cannot be read, or has several pages, or pixels without a known largest value.
        """
        image_module = pillow()
        try:
            with image_module.open(path) as image:
                return self.convert(image, os.fspath(path))
        except DataError:
            raise
        except (OSError, SyntaxError, ValueError, EOFError, struct.error, image_module.DecompressionBombError) as error:
            reason = str(error)
            if "cannot identify" in reason:
                reason = "no image that Pillow reads (TIFF of more than 4 channels: save it as NPY and use data.Arrays)"
            raise DataError(f"{path}: cannot be read: {reason}. Remove or replace the file.") from error

    def convert(self, image: Any, name: str) -> Tensor:
        """The same for a Pillow image; `name` is for messages."""
        from PIL import ImageOps

        pages = getattr(image, "n_frames", 1)
        if pages > 1:
            raise DataError(
                f"{name}: expected one image, found {pages} pages: save each as a file, or use data.Arrays."
            )
        values = _values(ImageOps.exif_transpose(image))  # a camera's rotation, as every viewer applies it
        pixels = to_unit(values if values.ndim == 3 else values[..., None], self.max_value, name).movedim(-1, 0)
        return self._sized(_with_channels(pixels, self.channels))

    def _sized(self, pixels: Tensor) -> Tensor:
        if self.size is None or tuple(pixels.shape[1:]) == self.size:
            return pixels.contiguous()
        (height, width), (wanted_height, wanted_width) = pixels.shape[1:], self.size
        new = self.size
        if self.resize == "crop":
            scale = max(wanted_height / height, wanted_width / width)
            new = max(wanted_height, round(height * scale)), max(wanted_width, round(width * scale))
        pixels = interpolate(pixels[None], new, mode="bilinear", antialias=True, align_corners=False)[0].clamp_(0, 1)
        top, left = (new[0] - wanted_height) // 2, (new[1] - wanted_width) // 2
        return pixels[:, top : top + wanted_height, left : left + wanted_width].contiguous()


def pillow() -> Any:
    """The module PIL.Image.

    Raises:
        DataError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise DataError("images are read by Pillow, which is not installed: pip install pillow") from None
    return Image


def _values(image: Any) -> Any:
    """The pixels (H, W) or (H, W, C): grey, grey and alpha, colour, or colour and alpha."""
    if image.mode in ("P", "PA", "L", "RGB", "1") and ("transparency" in image.info or image.mode == "PA"):
        image = image.convert("LA" if image.mode in ("L", "1") else "RGBA")
    elif image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    elif image.mode not in ("1", "L", "LA", "RGB", "RGBA", "I", "F", *_SIXTEEN_BITS):
        image = image.convert("RGB")  # palettes, CMYK, YCbCr, LAB, HSV
    values = np.asarray(image)
    if image.mode == "I" and image.format == "PNG":
        values = values.astype(np.uint16)  # Pillow 10 opens 16-bit files so
    return values


def _with_channels(pixels: Tensor, channels: int | None) -> Tensor:
    if channels is None or len(pixels) == channels:
        return pixels
    alpha = pixels[-1:] if len(pixels) in (2, 4) else None
    colour = pixels if alpha is None else pixels[:-1]
    if channels != 4 and alpha is not None:
        colour = colour * alpha + (1 - alpha)  # on white, as most viewers show it
    if channels == 1 and len(colour) == 3:
        weights = colour.new_tensor([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow does
        return torch.tensordot(weights, colour, 1)[None].clamp_(0, 1)
    if channels == 1:
        return colour
    colour = colour.expand(3, -1, -1)
    return colour if channels == 3 else torch.cat([colour, torch.ones_like(colour[:1]) if alpha is None else alpha])
