r"""Frequent words and marks, and bytes for the rest: short sequences, and no text without tokens.

A text is cut into pieces: a word with the blank before it (" the"), an ending ("'d"), a line end, a mark, a blank. A piece
of the vocabulary is one token; any other is spelt, one token a byte of UTF-8. So every text is a sequence of tokens, and a
model of tokens is a distribution over texts, rare words included.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

from discrete_lightning.data.tokenizers.tokenizer import Tokenizer, begun, to_bytes, to_text

_PIECE = re.compile(r" ?[^\W\d_]+|['’][^\W\d_]+|\n\n?|\r\n?| ?[^\w\s]|[\s\S]")
BYTES = 256


class WordTokenizer(Tokenizer):
    r"""Pieces of a vocabulary, and bytes for all others. Tokens 0 to 255 are the bytes, the pieces follow.

    `decode(encode(text)) == text` for every text, and with lone surrogates (`errors="surrogateescape"`) for every sequence of
    bytes. Characters of one byte are always tokens of their own byte: "\n" is 10.

    Args:
        pieces: of the vocabulary, each of two or more bytes; those that no text is cut into are never used.
        seen: the characters of the text that they were learnt from; `unknown` names others. Empty: all are known.

    Raises:
        ValueError: if a piece is given twice, or is a single byte.

    Example:
        >>> tokenizer = WordTokenizer([" the", "and"])
        >>> tokenizer.encode("and the hé\n"), tokenizer.decode([257, 256, 33])
        ([257, 256, 32, 104, 195, 169, 10], 'and the!')
    """

    def __init__(self, pieces: Sequence[str] = (), seen: str = "") -> None:
        self.pieces, self.seen = tuple(pieces), "".join(sorted(set(seen)))
        self._index = {piece: BYTES + i for i, piece in enumerate(self.pieces)}
        if len(self._index) != len(self.pieces):
            raise ValueError(
                f"a vocabulary holds each piece once: {[p for p, n in Counter(self.pieces).items() if n > 1][:5]}"
            )
        short = [piece for piece in self.pieces if len(to_bytes(piece)) < 2]
        if short:
            raise ValueError(f"pieces have two or more bytes, since each byte is a token already: got {short[:5]}")
        self.size = BYTES + len(self.pieces)
        self._bytes = [bytes([i]) for i in range(BYTES)] + [to_bytes(piece) for piece in self.pieces]

    @classmethod
    def learn(cls, text: str, size: int) -> Self:
        """The most frequent pieces of a text; of equally frequent ones the first in the alphabet.

        Args:
            text: to learn from.
            size: V, 256 or more; a short text may give fewer.

        Raises:
            ValueError: if the size is too small.

        Example:
            >>> WordTokenizer.learn("the cat and the dog and the cow", 258).pieces
            (' and', ' the')
        """
        if size < BYTES:
            raise ValueError(
                f"a vocabulary of words has {BYTES} bytes and the words: size is {BYTES} or more, got {size}"
            )
        counts = Counter(piece for piece in _PIECE.findall(text) if len(to_bytes(piece)) > 1)
        best = sorted(counts, key=lambda piece: (-counts[piece], piece))[: size - BYTES]
        return cls(best, "".join(set(text)))

    def encode(self, text: str) -> list[int]:
        found: list[int] = []
        index = self._index
        for piece in _PIECE.findall(text):
            token = index.get(piece)
            if token is None:
                found += to_bytes(piece)
            else:
                found.append(token)
        return found

    def decode(self, tokens: Sequence[int]) -> str:
        return to_text(b"".join(self._bytes[token] for token in tokens))

    def characters(self) -> list[int]:
        return [begun(each) for each in self._bytes]

    def state(self) -> dict[str, Any]:
        return {"kind": "words", "pieces": list(self.pieces), "seen": self.seen}

    def unknown(self, text: str) -> list[str]:
        return sorted(set(text) - set(self.seen)) if self.seen else []
