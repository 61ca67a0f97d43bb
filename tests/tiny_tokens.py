"""Made-up text and rows with two sources, for models with mixtures of experts."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from discrete_lightning.data import SplitDataModule
from discrete_lightning.data.dataset import as_is
from discrete_lightning.data.splits import Split
from discrete_lightning.data.windows import TextWindows
from discrete_lightning.routing.training.rows import Rows

SIZES: dict[Split, int] = {"train": 96, "validation": 24, "test": 24}
LETTERS = "abcdefgh \n"


class TinyText(SplitDataModule):
    """Windows of 8 letters out of ten; each letter is followed by the next one, mostly."""

    collate = staticmethod(as_is)

    def __init__(self, batch_size: int = 8, context: int = 8) -> None:
        super().__init__(batch_size, num_workers=0, seed=0)
        self.context = context

    def build(self) -> dict[Split, Dataset[Any]]:
        generator = torch.Generator().manual_seed(0)
        result: dict[Split, Dataset[Any]] = {}
        for split, windows in SIZES.items():
            steps = 1 + (torch.rand(windows * self.context + 1, generator=generator) < 0.1).long()
            result[split] = TextWindows(steps.cumsum(0) % len(LETTERS), self.context)
        return result

    def decode_tokens(self, tokens: Tensor) -> str:
        return "".join(LETTERS[each] for each in tokens.tolist())


class TinyRows(SplitDataModule):
    """Rows of four numbers of two sources and three classes; training does not see the source.

    Args:
        page: vectors of a row, which have one source; None: a row is one vector.
    """

    collate = staticmethod(as_is)

    def __init__(self, batch_size: int = 8, page: int | None = None) -> None:
        super().__init__(batch_size, num_workers=0, seed=0)
        self.page = page

    def build(self) -> dict[Split, Dataset[Any]]:
        generator = torch.Generator().manual_seed(0)
        result: dict[Split, Dataset[Any]] = {}
        for split, count in SIZES.items():
            x, source = torch.randn(count, self.page or 1, 4, generator=generator), torch.arange(count) % 2
            labels = (x[..., :3] * (1 - 2 * source.view(-1, 1, 1))).argmax(-1)
            if self.page is None:
                x, labels = x[:, 0], labels[:, 0]
            result[split] = Rows(x, labels) if split == "train" else Rows(x, labels, source)
        return result
