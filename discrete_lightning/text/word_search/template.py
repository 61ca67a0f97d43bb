"""Lines with blanks: "___" is one free token, "___*5" are five."""

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.data.tokenizers import Tokenizer

_BLANK = re.compile(r"___(?:\*(\d+))?")
_BEGINS = re.compile(r"[^\W\d_][^\W\d_]*")  # a word where no blank goes before it
_WORD = re.compile(r" [^\W\d_]+")


@dataclass(frozen=True)
class Template:
    """A line with blanks.

    Attributes:
        text: as it was written.
        tokens: int64 (T,), 0 where it is free.
        free: bool (T,).
    """

    text: str
    tokens: Tensor
    free: Tensor


def read_template(text: str, tokenizer: Tokenizer) -> Template:
    """The tokens of a line with blanks.

    A blank between a word and "___" belongs to the free token, as words are pieces such as " the".

    Args:
        text: such as "Shall I ___ thee to a ___ day", or "___*5 of the king".
        tokenizer: of the network.

    Raises:
        ValueError: if there is no blank, or characters that the tokenizer has never seen.

    Example:
        >>> from discrete_lightning.data.tokenizers import WordTokenizer
        >>> read_template("___*2 the", WordTokenizer([" the"])).tokens
        tensor([  0,   0, 256])
    """
    tokens: list[int] = []
    free: list[bool] = []
    place = 0

    def fixed(part: str) -> None:
        unknown = tokenizer.unknown(part)
        if unknown:
            raise ValueError(
                f"line {text!r}: the model has never seen {', '.join(map(repr, unknown))}; write it without"
            )
        encoded = tokenizer.encode(part)
        tokens.extend(encoded)
        free.extend([False] * len(encoded))

    for blank in _BLANK.finditer(text):
        fixed(text[place : blank.start()].removesuffix(" "))
        count = int(blank[1] or 1)
        if not count:
            raise ValueError(f"line {text!r}: {blank[0]!r} are no words; leave it out")
        tokens += [0] * count
        free += [True] * count
        place = blank.end()
    fixed(text[place:])
    if not any(free):
        raise ValueError(f"line {text!r} has no blank: write ___ for a free word, and ___*5 for five")
    return Template(text, torch.tensor(tokens), torch.tensor(free))


def words_only(template: Template, tokenizer: Tokenizer, vocabulary: int, start: bool = True) -> Tensor:
    """Which tokens are whole words: bool (F, V), " the" inside of a line and "The" where one begins.

    Args:
        template: F free tokens.
        tokenizer: V' <= V tokens.
        vocabulary: V of the network.
        start: whether the template is the start of a line, so that a free first token has no blank before it.

    Example:
        >>> from discrete_lightning.data.tokenizers import WordTokenizer
        >>> tokenizer = WordTokenizer([" the", "The", "'s", " ,"])
        >>> words_only(read_template("___*2", tokenizer), tokenizer, 260)[:, 256:].int()
        tensor([[0, 1, 0, 0],
                [1, 0, 0, 0]], dtype=torch.int32)
    """
    pieces = [tokenizer.decode([token]) for token in range(tokenizer.size)]
    inside, begins = torch.zeros(vocabulary, dtype=torch.bool), torch.zeros(vocabulary, dtype=torch.bool)
    inside[: len(pieces)] = torch.tensor([_WORD.fullmatch(piece) is not None for piece in pieces])
    # a byte is a word of its own only as "I", "O" or "A"
    begins[: len(pieces)] = torch.tensor(
        [
            bool(_BEGINS.fullmatch(piece) and piece[0].isupper() and (len(piece) > 1 or piece in "IOA"))
            for piece in pieces
        ]
    )
    positions = template.free.nonzero().flatten()
    return torch.stack([begins if start and position == 0 else inside for position in positions.tolist()])
