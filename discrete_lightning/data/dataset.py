"""Images in memory as bytes, served a whole batch at a time."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from discrete_lightning.data.binarize import bernoulli_bits

Batch = tuple[Tensor, Tensor]


class ImageDataset(Dataset[Batch]):
    """Grey images and labels; a whole batch is read in one indexing operation.

    A `DataLoader` over it needs `collate_fn=as_is`.

    Args:
        pixels: uint8 (N, H, W).
        labels: int64 (N,).
        redraw: whether to draw new Bernoulli(pixel) bits at each access, see `binarize.py`.
        seed: of those draws, 0 or more. Each rank and each worker has its own stream.

    Attributes:
        rank: which rank's stream the draws come from; the data module sets it.

    Example:
        >>> data = ImageDataset(torch.full((3, 2, 2), 51, dtype=torch.uint8), torch.arange(3))
        >>> images, labels = data.__getitems__([2, 0])
        >>> images.shape, images.max(), labels
        (torch.Size([2, 1, 2, 2]), tensor(0.2000), tensor([2, 0]))
    """

    def __init__(self, pixels: Tensor, labels: Tensor, *, redraw: bool = False, seed: int = 0) -> None:
        self.pixels = pixels
        self.labels = labels
        self.redraw = redraw
        self.seed = seed
        self._generator: torch.Generator | None = None
        self._owner: tuple[int, int] | None = None
        self.rank = 0

    @property
    def rank(self) -> int:
        return self._rank

    @rank.setter
    def rank(self, rank: int) -> None:
        self._rank = rank
        if self.redraw:
            self._stream()  # there from the start, so that a resumed run finds it, and gives it its state

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        """One image (1, H, W) and its label ()."""
        images, labels = self.__getitems__([index])
        return images[0], labels[0]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Images, float32 (B, 1, H, W) in [0, 1], and labels, int64 (B,)."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        pixels = self.pixels[chosen].unsqueeze(1)
        if self.redraw:
            pixels = bernoulli_bits(pixels, self._stream())
        return pixels.to(torch.float32).div_(255), self.labels[chosen]

    def __getstate__(self) -> dict[str, object]:
        # A spawned worker cannot unpickle a generator (torch 2.13: "unable to resize file") and needs its own anyway
        return {**self.__dict__, "_generator": None}

    def _stream(self) -> torch.Generator:
        # Not torch's own generator: seed_everything gives all ranks the same. A worker starts with a copy of this
        # object; its seed is new each time workers are started, so that neither workers nor epochs share draws.
        worker = get_worker_info()
        owner = (self.rank, -1 if worker is None else worker.seed)
        if self._generator is None or owner != self._owner:
            entropy = [self.seed, self.rank] if worker is None else [self.seed, self.rank, worker.seed]
            seed = int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)
            self._generator, self._owner = torch.Generator().manual_seed(seed), owner
        return self._generator


def as_is(batch: object) -> object:
    """The `collate_fn` for a dataset that returns batches; not a lambda, so that workers can pickle it."""
    return batch
