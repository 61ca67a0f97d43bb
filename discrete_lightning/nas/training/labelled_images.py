"""Batches of a classification task: images, and a label for each."""

from typing import Any

from torch import Tensor

from discrete_lightning.training.batches import examples_of

Batch = tuple[Tensor, Tensor]


def labelled_images(batch: Any, image_shape: tuple[int, ...], classes: int, batch_idx: int = 0) -> Batch:
    """Images (B, C, H, W) and labels, int64 (B,), of a batch as `examples_of` reads it.

    Args:
        batch: of a data loader.
        image_shape: (C, H, W) that the network was built for.
        classes: number of classes.
        batch_idx: labels are compared with `classes` in batch 0, which waits for the device.

    Raises:
        ValueError: if the images have another shape or are no floating-point numbers, or there is not one label below `classes`
            for each image.

    Example:
        >>> import torch
        >>> images, labels = labelled_images((torch.zeros(2, 1, 4, 4), torch.tensor([[1], [0]])), (1, 4, 4), classes=2)
        >>> labels
        tensor([1, 0])
    """
    images, labels = examples_of(batch)
    if tuple(images.shape[1:]) != tuple(image_shape):
        raise ValueError(
            f"image_shape is {list(image_shape)}, and the data module serves images of {list(images.shape[1:])}: "
            f"set model.image_shape to [{', '.join(map(str, images.shape[1:]))}]"
        )
    if not images.is_floating_point():
        raise ValueError(f"images are floating-point numbers, and a batch holds {images.dtype}: convert them")
    if labels is None:
        raise ValueError("a network that classifies images needs labels, and the data serves images without: add them")
    if labels.is_floating_point() or labels.is_complex() or labels.numel() != len(images):
        raise ValueError(
            f"labels are one integer for each image, and a batch of {len(images)} has {labels.dtype} of shape "
            f"{tuple(labels.shape)}: convert them (labels.argmax(-1) of one-hot labels)"
        )
    labels = labels.flatten().long()
    if batch_idx == 0 and len(labels):
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= classes:
            found = high if high >= classes else low
            raise ValueError(
                f"classes is {classes}, and a label is {found}: labels count from 0; set model.classes to their number"
            )
    return images, labels
