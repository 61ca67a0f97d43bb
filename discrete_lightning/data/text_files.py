"""Text files of one's own."""

import glob
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from discrete_lightning.data.errors import DataError
from discrete_lightning.data.splits import Split, check_shares
from discrete_lightning.data.text import TextData

_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


class TextFiles(TextData):
    """Text files of one's own, split by file: neighbouring passages share names and phrases.

    With one or two files alone the last part of each text is held out, and a line says so. A file is read as UTF-8, or as
    what its byte order mark says; one that is neither is read as cp1252 or latin-1, and a line says so.

    Args:
        files: one pattern, or several, such as "poems/*.txt"; "**" means all folders below.
        encoding: of all files; None: see above.
        validation: share of the files, in [0, 1); at least one file unless it is 0.
        test: likewise.
        context: tokens of a window, 1 or more.
        batch_size: windows a batch and device, 1 or more.
        tokenizer: "words", "bytes", "ascii", or a tokenizer of the package tokenizers: the file of a tokenizer.json, or a name.
        vocabulary: number of different tokens of "words", 256 or more.
        streams: whether rows go on from batch to batch, which `LanguageModel` makes use of.
        num_workers: processes that prepare batches.
        seed: of the split.

    Raises:
        ValueError: an argument is out of its range.
        DataError: no file is found, one is empty, or cannot be read.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> for name in "abc":
        ...     _ = (folder / f"{name}.txt").write_text("the cat and the dog and the cow. " * 20)
        >>> data = TextFiles(f"{folder}/*.txt", context=8, batch_size=2, vocabulary=300)
        >>> inputs, targets = next(iter(data.train_dataloader()))
        >>> inputs.shape, data.decode_tokens(inputs[0, :3])
        (torch.Size([2, 8]), 'the cat and')
    """

    def __init__(
        self,
        files: str | list[str],
        encoding: str | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        context: int = 64,
        batch_size: int = 32,
        tokenizer: str = "words",
        vocabulary: int = 2048,
        streams: bool = True,
        *,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(context, batch_size, tokenizer, vocabulary, streams, num_workers)
        check_shares(validation, test)
        self.files, self.encoding, self.validation, self.test = files, encoding, validation, test
        self.seed = seed

    def texts(self) -> dict[Split, str]:
        paths = _found([self.files] if isinstance(self.files, str) else self.files)
        texts = [_read(path, self.encoding) for path in paths]
        shares: dict[Split, float] = {"validation": self.validation, "test": self.test}
        counts = {split: max(1, round(share * len(paths))) if share else 0 for split, share in shares.items()}
        if len(paths) <= sum(counts.values()):
            return self._by_place(texts)
        # RandomState's stream is frozen by numpy's promise
        order, start = np.random.RandomState(self.seed).permutation(len(paths)), 0
        result: dict[Split, str] = {}
        for split, count in counts.items():
            result[split] = "\n\n".join(texts[i] for i in sorted(order[start : start + count]))
            start += count
        result["train"] = "\n\n".join(texts[i] for i in sorted(order[start:]))
        return result

    def _by_place(self, texts: Sequence[str]) -> dict[Split, str]:
        if self.validation or self.test:
            print(
                f"note: {len(texts)} file(s) are too few to hold some out: the last parts of each are "
                f"(validation {self.validation:g}, test {self.test:g})"
            )
        parts: dict[Split, list[str]] = {"train": [], "validation": [], "test": []}
        for text in texts:
            test = len(text) - round(self.test * len(text))
            validation = test - round(self.validation * len(text))
            parts["train"].append(text[:validation])
            parts["validation"].append(text[validation:test])
            parts["test"].append(text[test:])
        return {split: "\n\n".join(filter(None, each)) for split, each in parts.items()}


def _found(patterns: Sequence[str]) -> list[Path]:
    paths: dict[Path, None] = {}
    for pattern in patterns:
        matched = sorted(Path(each) for each in glob.glob(str(Path(pattern).expanduser()), recursive=True))
        matched = [path for path in matched if path.is_file()]
        if not matched:
            raise DataError(
                f"files={pattern!r}: no such file in {Path.cwd()}: give a file, or a pattern such as 'poems/*.txt'"
            )
        paths |= dict.fromkeys(matched)
    return list(paths)


def _read(path: Path, encoding: str | None) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    named = encoding or next((name for mark, name in _MARKS if data.startswith(mark)), None)
    try:
        text, used = _decoded(data, named)
    except (UnicodeError, LookupError) as error:
        raise DataError(f"{path} cannot be read as {named}: {error}: set encoding to what it is, or to null") from None
    if not text.strip():
        raise DataError(f"{path} is empty: {len(data)} bytes, and nothing to read in them. Remove it from files.")
    if used != "utf-8":
        print(f"note: {path} was read as {used}")
    return text.replace("\r\n", "\n")


def _decoded(data: bytes, encoding: str | None) -> tuple[str, str]:
    if encoding is not None:
        return data.decode(encoding), encoding
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252"), "cp1252"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "latin-1"  # which knows every byte
