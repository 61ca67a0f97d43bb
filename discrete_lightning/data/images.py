"""Base of the image data modules: three splits, binarisation, loaders."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from discrete_lightning.data.binarize import MODES, Binarize, bernoulli_bits
from discrete_lightning.data.dataset import Batch, ImageDataset, as_is
from discrete_lightning.data.errors import DataError

Split = Literal["train", "validation", "test"]


class ImageDataModule(LightningDataModule, ABC):
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

    image_shape: ClassVar[tuple[int, int, int]] = (1, 28, 28)
    num_classes: ClassVar[int] = 10
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def __init__(
        self, batch_size: int = 128, binarize: Binarize = "none", *, num_workers: int = 0, seed: int = 0
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: expected 1 or more images a batch.")
        if binarize not in MODES:
            raise ValueError(f"binarize={binarize!r}: expected one of {', '.join(MODES)}.")
        if num_workers < 0:
            raise ValueError(f"num_workers={num_workers}: expected 0 (load in the training process) or more.")
        if seed < 0:
            raise ValueError(f"seed={seed}: expected 0 or more.")
        self.batch_size = batch_size
        self.binarize = binarize
        self.num_workers = num_workers
        self.seed = seed
        self._datasets: dict[Split, ImageDataset] = {}

    @abstractmethod
    def load(self) -> dict[Split, tuple[Tensor, Tensor]]:
        """Read the data: for each split the pixels, uint8 (N, 28, 28), and the labels, 0..9, any integer type (N,)."""

    def setup(self, stage: str | None = None) -> None:
        """Load all splits, once: they are small, and reading half of them would save less than a second."""
        if not self._datasets:
            self._datasets = self._build()
        if self.trainer is not None:
            self._datasets["train"].rank = self.trainer.global_rank

    def dataset(self, split: Split) -> ImageDataset:
        """A split as a dataset, with its `pixels` and `labels`."""
        self.setup()
        return self._datasets[split]

    def train_dataloader(self) -> DataLoader[Batch]:
        ranks = 1 if self.trainer is None else self.trainer.world_size
        share = -(-len(self.dataset("train")) // ranks)
        if share < self.batch_size:
            raise ValueError(
                f"batch_size={self.batch_size}: expected at most {share}, since only full batches are used in training "
                f"and there are {len(self.dataset('train')):,} images for {ranks} device(s)."
            )
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        # Lightning takes an empty list for "no validation" and warns of an empty loader
        return self._loader("validation") if len(self.dataset("validation")) else []

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        return self._loader("test")

    def _loader(self, split: Split) -> DataLoader[Batch]:
        # Plain shuffle and batch_size rather than a sampler of our own: Lightning can swap in its DistributedSampler
        return DataLoader(
            self.dataset(split),
            batch_size=self.batch_size,
            shuffle=split == "train",
            drop_last=split == "train",
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            collate_fn=as_is,
        )

    def _build(self) -> dict[Split, ImageDataset]:
        generator = torch.Generator().manual_seed(self.seed)
        datasets: dict[Split, ImageDataset] = {}
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
