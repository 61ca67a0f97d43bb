"""The 96 characters of ASCII that print, and the line end."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from discrete_lightning.data.tokenizers.tokenizer import Tokenizer

CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))
_TABLE = np.full(256, CHARACTERS.index("?"), dtype=np.uint8)
_TABLE[[ord(each) for each in CHARACTERS]] = np.arange(len(CHARACTERS))


class ASCIITokenizer(Tokenizer):
    r"""One token a character; a token is its position in `CHARACTERS`. What is not among these becomes "?".

    Example:
        >>> tokenizer = ASCIITokenizer()
        >>> tokenizer.decode(tokenizer.encode("Who's there?\t"))
        "Who's there??"
    """

    size = len(CHARACTERS)

    def encode(self, text: str) -> list[int]:
        return _TABLE[np.frombuffer(text.encode("ascii", "replace"), dtype=np.uint8)].tolist()

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(CHARACTERS[each] for each in tokens)

    def characters(self) -> list[int]:
        return [1] * self.size

    def state(self) -> dict[str, Any]:
        return {"kind": "ascii"}

    def unknown(self, text: str) -> list[str]:
        return sorted(set(text) - set(CHARACTERS))
