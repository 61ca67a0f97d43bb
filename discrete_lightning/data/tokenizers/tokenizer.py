"""Texts to tokens and back."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any


def to_bytes(text: str) -> bytes:
    """The bytes of a text in UTF-8; a lone surrogate is a byte that was no UTF-8, as `errors="surrogateescape"` reads it."""
    return text.encode("utf-8", "surrogateescape")


def to_text(data: bytes) -> str:
    r"""The text of bytes, whatever they are: `to_bytes(to_text(data)) == data`.

    Example:
        >>> to_bytes(to_text(bytes([0xC3, 0xA9, 0xFF]))) == bytes([0xC3, 0xA9, 0xFF])
        True
    """
    return data.decode("utf-8", "surrogateescape")


def begun(data: bytes) -> int:
    r"""The number of characters of UTF-8 that begin in these bytes.

    Example:
        >>> begun("né".encode()), begun("é".encode()[1:])
        (2, 0)
    """
    return sum(not 0x80 <= each < 0xC0 for each in data)


class Tokenizer(ABC):
    """Base of the tokenizers: `encode`, `decode`, and how many characters a token stands for.

    Attributes:
        size: V, number of different tokens.
    """

    size: int

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """The tokens of a text, each in [0, V)."""

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens."""

    @abstractmethod
    def characters(self) -> list[int]:
        """The number of characters that each of the V tokens stands for: their sum over a text's tokens is its length."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What `tokenizer_of` makes an equal tokenizer from: plain data."""

    def unknown(self, text: str) -> list[str]:
        """Characters of `text` that it has no tokens for, or whose tokens it has never seen; sorted, each once."""
        return []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and self.state() == other.state()

    def __hash__(self) -> int:
        return hash((type(self), self.size))
