"""A tokenizer of the package `tokenizers` (Hugging Face)."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from discrete_lightning.data.errors import DataError
from discrete_lightning.data.tokenizers.tokenizer import Tokenizer, begun


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
        decoder = json.loads(self._tokenizer.to_str()).get("decoder") or {}
        of_bytes = "ByteLevel" in {each["type"] for each in (decoder, *decoder.get("decoders", ()))}
        first = self.encode("a")[-1:]
        length = len(self.decode(first))
        counts: list[int] = []
        for i in range(self.size):
            piece = self._tokenizer.id_to_token(i) or ""
            data = _data(piece) if of_bytes else _ONE_BYTE.fullmatch(piece)
            if isinstance(data, re.Match):
                data = bytes([int(data[1], 16)])
            # decoders may take off the blank of the first token, so that each stands after another one
            counts.append(len(self.decode([*first, i])) - length if data is None else begun(data))
        return counts

    def state(self) -> dict[str, Any]:
        return {"kind": "hugging_face", "name": self.name, "content": self._tokenizer.to_str()}


def _byte_letters() -> dict[str, int]:
    """The letters that GPT-2 writes bytes as: those that print as themselves, the others from U+0100 on."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [each for each in range(256) if each not in printed]
    return {chr(each): each for each in printed} | {chr(256 + n): each for n, each in enumerate(others)}


_BYTE_LETTERS = _byte_letters()
_ONE_BYTE = re.compile(r"<0x([0-9A-F]{2})>")  # as SentencePiece spells what it has no piece for


def _data(piece: str) -> bytes | None:
    """The bytes of a token of GPT-2's kind; None: it is none, but a special one."""
    if not all(each in _BYTE_LETTERS for each in piece):
        return None
    return bytes(_BYTE_LETTERS[each] for each in piece)
