"""Base of the models of images: batches of any form, and a comparison of model and data at the first batch."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.training.batches import Examples, examples_of
from discrete_lightning.training.restorable import RestorableModule

_SLACK = 0.01  # what interpolation and half precision add to the ends of [0, 1]


class ImageModule(RestorableModule):
    """A model that takes batches as `examples_of` reads them, and says what is wrong with images that do not fit it.

    Shapes are compared in every batch, values in the first batch of each loop. A subclass defines `check_shape`.
    """

    def examples(self, batch: Any, batch_idx: int = 0) -> Examples:
        """The images and labels of a batch, if they fit the model.

        Raises:
            ValueError: if the batch holds no tensor of images, or images of another type, shape or range; in one line that
                says what came and what to change.
        """
        found = examples_of(batch)
        self.check_shape(found.inputs)
        if batch_idx == 0:
            check_values(found.inputs)
        return found

    def check_batch(self, batch: Any) -> None:
        """Compares the model with a training batch of the data; raises as `examples`."""
        self.examples(batch)

    @abstractmethod
    def check_shape(self, images: Tensor) -> None:
        """Raises ValueError if the model cannot take images of this shape, (B, ...)."""


def check_values(images: Tensor) -> None:
    """Raises ValueError unless the images are floating-point numbers in [0, 1].

    Example:
        >>> check_values(torch.tensor([0.0, 255.0]))
        Traceback (most recent call last):
            ...
        ValueError: images are numbers in [0, 1], and a batch holds 0 to 255: divide them by their largest possible value
    """
    if not images.is_floating_point():
        largest = torch.iinfo(images.dtype).max if not images.dtype.is_complex and images.dtype != torch.bool else 1
        raise ValueError(
            f"images are floating-point numbers in [0, 1], and a batch holds {images.dtype}: convert them, for example by "
            f"images.float() / {largest if largest < 2**31 else 'their largest possible value'}"
        )
    if not images.numel():
        return
    low, high = (float(each) for each in images.detach().aminmax())
    if not (low >= -_SLACK and high <= 1 + _SLACK):
        advice = "divide them by their largest possible value" if low >= 0 else "do not standardise them"
        held = f"{low:.4g} to {high:.4g}"
        if low != low or high != high:
            advice, held = "find where the data has NaN", "NaN"
        raise ValueError(f"images are numbers in [0, 1], and a batch holds {held}: {advice}")


def check_channels(images: Tensor, channels: int) -> None:
    """Raises ValueError unless the images are (B, channels, H, W)."""
    if images.ndim == 4 and images.shape[1] == channels:
        return
    shape = tuple(images.shape)
    if images.ndim != 4:
        advice = "add a dimension of one channel, images.unsqueeze(1)" if images.ndim == 3 else "reshape them"
        raise ValueError(f"images are (batch, channels, height, width), and the data serves {shape}: {advice}")
    if images.shape[-1] == channels or (images.shape[-1] in (1, 3, 4) and images.shape[1] not in (1, 3, 4)):
        advice = "move the channels to the front, images.movedim(-1, 1)"
    else:
        advice = f"set channels={images.shape[1]} (model.channels in a config), or serve images of {channels}"
    raise ValueError(f"the model takes images of {_channels(channels)}, and the data serves {shape}: {advice}")


def _channels(count: int) -> str:
    return f"{count} channel{'s' if count > 1 else ''}"
