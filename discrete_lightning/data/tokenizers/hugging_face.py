"""A tokenizer of the package `tokenizers` (Hugging Face)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from discrete_lightning.data.errors import DataError
from discrete_lightning.data.tokenizers.tokenizer import Tokenizer


class HuggingFaceTokenizer(Tokenizer):
    """A tokenizer.json, or the name of one on the Hub. Needs the package tokenizers.

    Whether `decode(encode(text)) == text` depends on it: one that changes its text (lower case, say) gives nats per character
    of another text, and `TextData` says so.

    Args:
        name: a file, or a name such as "gpt2", which is downloaded.
        content: the text of the tokenizer.json, instead of reading it.

    Raises:
        DataError: tokenizers is not installed, or there is no such tokenizer.
    """

    def __init__(self, name: str, content: str | None = None) -> None:
        try:
            import tokenizers
        except ImportError:
            raise DataError(
                f"tokenizer={name!r} is one of the package tokenizers, which is not installed: "
                "pip install 'discrete_lightning[tokenizers]', or set tokenizer to 'words' or 'bytes'"
            ) from None
        try:
            if content is not None:
                self._tokenizer = tokenizers.Tokenizer.from_str(content)
            elif Path(name).expanduser().is_file():
                self._tokenizer = tokenizers.Tokenizer.from_file(str(Path(name).expanduser()))
            else:
                self._tokenizer = tokenizers.Tokenizer.from_pretrained(name)
        except Exception as error:  # of Rust: it raises Exception itself
            raise DataError(
                f"tokenizer={name!r}: there is no such file, and it cannot be had from the Hub ({error}): give 'words', "
                "'bytes', the file of a tokenizer.json, or a name of the Hub"
            ) from None
        self.name, self.size = name, self._tokenizer.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))

    def characters(self) -> list[int]:
        return [len(self.decode([i])) for i in range(self.size)]

    def state(self) -> dict[str, Any]:
        return {"kind": "hugging_face", "name": self.name, "content": self._tokenizer.to_str()}
