"""Made-up couplets for models that write lines, and a reward for them."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch.utils.data import DataLoader, Dataset

from discrete_lightning.data.splits import Split, SplitDataModule
from discrete_lightning.data.text import TextData
from discrete_lightning.layers.recorded import Recorded
from discrete_lightning.text.training.verses import Texts

WORDS = ("the", "cat", "and", "dog", "sat", "ran")


def lines(count: int, start: int = 0) -> list[str]:
    """Lines of three words each, with a full stop."""
    return [
        " ".join(WORDS[(i * j + i + j) % len(WORDS)] for j in range(1, 4)) + "." for i in range(start, start + count)
    ]


class TinyLines(TextData):
    """Couplets of made-up lines; words are tokens."""

    def __init__(self, batch_size: int = 8) -> None:
        super().__init__(16, batch_size, "words", 280, streams=False, num_workers=0)

    def texts(self) -> dict[Split, str]:
        return {
            split: "\n".join(lines(40, start)) + "\n" for split, start in (("train", 0), ("validation", 3), ("test", 5))
        }

    def build(self) -> dict[Split, Dataset[Any]]:
        found: dict[Split, Dataset[Any]] = {}
        splits: tuple[Split, ...] = ("train", "validation", "test")
        for split in splits:
            each = self.text(split).splitlines()
            rows = [f"\n{a}\n{b}\n" for a, b in pairwise(each)]
            found[split] = Texts([self.tokenizer.encode(row) for row in rows])
        return found

    def _loader(self, split: Split, shuffle: bool = False) -> DataLoader[Any]:
        return SplitDataModule._loader(self, split, shuffle)


class ShareOfCats(Recorded):
    """1 for each line with a cat in it."""

    def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        found = [[float("cat" in line) for line in text.split("\n")[:2]] for text in texts]
        return [row + [0.0] * (2 - len(row)) for row in found]
