"""Base of the data modules of texts: three texts, a tokenizer, and windows of tokens."""

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from discrete_lightning.data.dataset import as_is
from discrete_lightning.data.errors import DataError
from discrete_lightning.data.splits import Split, SplitDataModule
from discrete_lightning.data.streams import TextStreams
from discrete_lightning.data.tokenizers import Tokenizer, tokenizer_by_name
from discrete_lightning.data.windows import TextWindows


class TextData(SplitDataModule):
    """Base of the data modules of texts; a subclass says what `texts` returns.

    Batches are `(inputs, targets)`, both int64 (B, context): the targets are the inputs one token later. With `streams` the
    text is read as B parts side by side, in order: row b of a batch goes on where row b of the batch before ended, and all
    tokens are served (-100 is a target that is none). Without, windows follow one another without an overlap, and those of
    training are shuffled.

    Args:
        context: tokens of a window, 1 or more.
        batch_size: windows a batch and device, 1 or more.
        tokenizer: "words", "bytes", "ascii", or a tokenizer of the package tokenizers: the file of a tokenizer.json, or a name.
        vocabulary: number of different tokens of "words", 256 or more.
        streams: whether rows go on from batch to batch.
        num_workers: processes that prepare batches. The text is in memory, so that 0 is fastest on most machines.

    Raises:
        ValueError: an argument is out of its range.
    """

    collate = staticmethod(as_is)

    def __init__(
        self,
        context: int,
        batch_size: int,
        tokenizer: str,
        vocabulary: int,
        streams: bool,
        num_workers: int,
    ) -> None:
        super().__init__(batch_size, num_workers, seed=0)
        if context < 1:
            raise ValueError(f"context={context}: expected 1 or more tokens a window.")
        if tokenizer == "words" and vocabulary < 256:
            raise ValueError(f"vocabulary={vocabulary}: expected 256 or more, the bytes among them.")
        self.context, self.tokenizer_name, self.vocabulary_size, self.streams = context, tokenizer, vocabulary, streams
        self._texts: dict[Split, str] = {}
        self._tokenizer: Tokenizer | None = None
        self._tokens: dict[Split, Tensor] = {}

    @abstractmethod
    def texts(self) -> dict[Split, str]:
        """The text of each split, "" where there is none. Called once."""

    def text(self, split: Split) -> str:
        """The raw text of a split."""
        if not self._texts:
            self._texts = self.texts()
        return self._texts[split]

    @property
    def tokenizer(self) -> Tokenizer:
        """Learnt from the training text, or read."""
        if self._tokenizer is None:
            text = self.text("train")
            self._tokenizer = tokenizer_by_name(self.tokenizer_name, text, self.vocabulary_size)
            sample = text[:10_000]
            if self.tokenizer_name != "ascii" and self._tokenizer.decode(self._tokenizer.encode(sample)) != sample:
                print(
                    f"note: the tokenizer {self.tokenizer_name} changes the text: nats per character are those of the text "
                    "that it gives back"
                )
        return self._tokenizer

    def tokens(self, split: Split) -> Tensor:
        """The tokens of a split, int32 (N,)."""
        if split not in self._tokens:
            self._tokens[split] = torch.from_numpy(np.array(self.tokenizer.encode(self.text(split)), dtype=np.int32))
        return self._tokens[split]

    def build(self) -> dict[Split, Dataset[Any]]:
        splits: tuple[Split, ...] = ("train", "validation", "test")
        if len(self.tokens("train")) < 2:
            raise DataError(
                f"{type(self).__name__}: the training text has {len(self.tokens('train'))} tokens, too few."
            )
        if not self.streams:
            return {split: TextWindows(self.tokens(split), self.context) for split in splits}
        rows = self.batch_size * (1 if self.trainer is None else self.trainer.world_size)
        for split in splits:
            if 0 < len(self.tokens(split)) <= rows:
                raise DataError(
                    f"{type(self).__name__}: {split} text of {len(self.tokens(split))} tokens cannot be read as {rows} rows "
                    "side by side: set a smaller batch_size, or give more text."
                )
        return {split: TextStreams(self.tokens(split), self.context, rows) for split in splits}

    def _loader(self, split: Split, shuffle: bool = False) -> DataLoader[Any]:
        return super()._loader(split, shuffle and not self.streams)

    def encode_text(self, text: str) -> Tensor:
        """The tokens of a text, int64 (number of tokens,)."""
        return torch.tensor(self.tokenizer.encode(text), dtype=torch.int64)

    def decode_tokens(self, tokens: Tensor) -> str:
        """The text of tokens, any integer type, (N,)."""
        return self.tokenizer.decode(tokens.tolist())
