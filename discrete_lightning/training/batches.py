"""What a batch holds, whatever its form: the inputs, and the labels where there are any."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

INPUT_KEYS = (
    "image", "images", "pixel_values", "pixels", "img", "x", "input", "inputs", "data", "png", "jpg", "jpeg", "webp", "npy",
)  # fmt: skip
LABEL_KEYS = ("label", "labels", "y", "target", "targets", "class", "cls")


class Examples(NamedTuple):
    """The inputs of a batch, (B, ...), and its labels, a tensor of B rows, or None."""

    inputs: Tensor
    labels: Tensor | None


def examples_of(batch: Any) -> Examples:
    """The inputs and labels of a batch as data loaders make it.

    Args:
        batch: a tensor; or a tuple or list that starts with the inputs and, if it goes on with a tensor of as many rows, the
            labels (more entries are ignored); or a mapping with the inputs under one of `INPUT_KEYS` and the labels, if any,
            under one of `LABEL_KEYS`.

    Raises:
        ValueError: if it is anything else; the message says what came.

    Example:
        >>> import torch
        >>> images, labels = torch.rand(2, 1, 4, 4), torch.tensor([3, 1])
        >>> examples_of(images).labels is None
        True
        >>> examples_of([images, labels, ["a.png", "b.png"]]).labels
        tensor([3, 1])
        >>> examples_of({"pixel_values": images, "label": labels}).inputs.shape
        torch.Size([2, 1, 4, 4])
    """
    inputs, labels = batch, None
    if isinstance(batch, Mapping):
        inputs = next((batch[key] for key in INPUT_KEYS if key in batch), None)
        labels = next((batch[key] for key in LABEL_KEYS if key in batch), None)
    elif isinstance(batch, tuple | list) and batch:
        inputs, labels = batch[0], batch[1] if len(batch) > 1 else None
    if not isinstance(inputs, Tensor) or not inputs.ndim:
        raise ValueError(
            f"a batch is a tensor, a tuple or list that starts with one, or a mapping with a tensor under one of "
            f"{', '.join(INPUT_KEYS)}; the data served {_described(batch)}: change the data set or its collate_fn"
        )
    has_rows = isinstance(labels, Tensor) and labels.shape[:1] == inputs.shape[:1]
    return Examples(inputs, labels if has_rows else None)


def _described(batch: Any) -> str:
    if isinstance(batch, Mapping):
        return f"a mapping of {', '.join(f'{key}: {_short(each)}' for key, each in batch.items()) or 'nothing'}"
    if isinstance(batch, tuple | list):
        shown = ", ".join(_short(each) for each in batch[:4]) + (", ..." if len(batch) > 4 else "")
        return f"a {type(batch).__name__} of {len(batch)}: {shown or 'nothing'}"
    return _short(batch)


def _short(value: Any) -> str:
    return f"tensor {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
