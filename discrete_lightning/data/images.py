"""Base of the data modules of small grey images in memory, with binarisation."""

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from discrete_lightning.data.binarize import MODES, Binarize, bernoulli_bits
from discrete_lightning.data.dataset import ImageDataset, as_is
from discrete_lightning.data.errors import DataError
from discrete_lightning.data.splits import Split, SplitDataModule


class ImageDataModule(SplitDataModule):
    """Base of data modules for small grey images; a subclass says what `load` returns.

    Batches are `(images, labels)`: float32 (B, 1, 28, 28) in [0, 1] and int64 (B,). Training batches are shuffled and
    all of one size (the remainder is left out, another one in each epoch); `predict` serves the test split in order.

    Args:
        batch_size: images a batch and device, 1 or more.
        binarize: `none` keeps grey values; `fixed` draws Bernoulli(pixel) bits once, the same on every rank and in
            every run with this seed; `dynamic` draws new bits at each access in training, while validation and test
            have the bits of `fixed`, so that evaluation is deterministic.
        num_workers: processes that prepare batches. The data is in memory, so that 0 is fastest on most machines.
        seed: of the binarisation, 0 or more. It does not touch the splits.

    Raises:
        ValueError: an argument is out of its range, or (in `train_dataloader`) `batch_size` is larger than a rank's
            share of the training split.
        DataError: (in `prepare_data` or `setup`) the data is missing or damaged, or pixels are no bytes.

    Example:
        >>> from discrete_lightning.data import Digits
        >>> images, labels = next(iter(Digits(batch_size=4, binarize="fixed").train_dataloader()))
        >>> images.shape, images.unique(), labels.shape
        (torch.Size([4, 1, 28, 28]), tensor([0., 1.]), torch.Size([4]))
    """

    collate = staticmethod(as_is)
    image_shape: ClassVar[tuple[int, int, int]] = (1, 28, 28)
    num_classes: ClassVar[int] = 10
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def __init__(
        self, batch_size: int = 128, binarize: Binarize = "none", *, num_workers: int = 0, seed: int = 0
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        if binarize not in MODES:
            raise ValueError(f"binarize={binarize!r}: expected one of {', '.join(MODES)}.")
        self.binarize = binarize

    @abstractmethod
    def load(self) -> dict[Split, tuple[Tensor, Tensor]]:
        """Read the data: for each split the pixels, uint8 (N, 28, 28), and the labels, 0..9, any integer type (N,)."""

    def setup(self, stage: str | None = None) -> None:
        """Load all splits, once: they are small, and reading half of them would save less than a second."""
        super().setup(stage)
        if self.trainer is not None:
            self.dataset("train").rank = self.trainer.global_rank

    def dataset(self, split: Split) -> ImageDataset:
        """A split as a dataset, with its `pixels` and `labels`."""
        if not self._datasets:
            self.setup()
        return self._datasets[split]  # type: ignore[return-value]

    def build(self) -> dict[Split, Dataset[Any]]:
        generator = torch.Generator().manual_seed(self.seed)
        datasets: dict[Split, Dataset[Any]] = {}
        for split, (pixels, labels) in self.load().items():
            self._check(split, pixels, labels)
            redraw = self.binarize == "dynamic" and split == "train"
            if self.binarize != "none":
                # Drawn for a redrawn split too, and thrown away: evaluation has the same bits in both modes
                bits = bernoulli_bits(pixels, generator)
                pixels = pixels if redraw else bits
            datasets[split] = ImageDataset(pixels, labels.to(torch.int64), redraw=redraw, seed=self.seed)
        return datasets

    def _check(self, split: Split, pixels: Tensor, labels: Tensor) -> None:
        name = f"{type(self).__name__}, {split}"
        if pixels.dtype != torch.uint8:
            raise DataError(
                f"{name}: expected pixels as bytes, uint8 in 0 to 255, found {pixels.dtype}. Convert images in [0, 1] with "
                "(pixels * 255).round().to(torch.uint8)."
            )
        if tuple(pixels.shape) != (len(labels), *self.image_shape[1:]) or labels.ndim != 1:
            shapes = f"{tuple(pixels.shape)} and {tuple(labels.shape)}"
            raise DataError(f"{name}: expected images (N, 28, 28) and labels (N,), found {shapes}.")
        if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
            raise DataError(f"{name}: expected labels of an integer type, found {labels.dtype}.")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            found = f"{int(labels.min())} to {int(labels.max())}"
            raise DataError(f"{name}: expected labels 0 to {self.num_classes - 1}, found {found}.")
