"""A reward for rhyming couplets in iambic pentameter."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from discrete_lightning.layers.recorded import Recorded
from discrete_lightning.text.verse.metre import Metre, words_of
from discrete_lightning.text.verse.pronunciations import knows, pronunciations
from discrete_lightning.text.verse.rhyme import Rhyme

_LINE = re.compile(r"['\"‘“]?[A-Z][A-Za-z ,.;:!?'’\-]*")
_MARKS = re.compile(r" |\n| ?[,.;:!?'’\-]{1,2}")
_WORD = re.compile(r" ?([A-Za-z'’\-]+)")
_ENDINGS = frozenset(
    "'" + each for each in ("d", "s", "st", "t", "ll", "re", "ve", "rt", "lt", "er", "en", "n", "r", "ring")
)
_LETTERS = frozenset(("I", "O", "A", "a"))


class Outcome(NamedTuple):
    """What became of a couplet.

    Attributes:
        metre: whether each line is well-formed and in metre.
        rhyme: whether both lines are well-formed and rhyme.
        well_formed: whether each line is there, and is a line of words.
        copied: whether each line is one of the forbidden lines, whatever its case and marks.
    """

    metre: tuple[bool, bool]
    rhyme: bool
    well_formed: tuple[bool, bool]
    copied: tuple[bool, bool]


class CoupletReward(Recorded):
    r"""Rewards couplets for metre and rhyme, line by line.

    A line in metre earns `metre`; the second also earns `rhyme` if it rhymes with the first. A forbidden line (`forbid`) earns
    nothing, and nothing rhymes with it. What a line earns is divided by the number of times that it occurs in the texts.

    A text is two lines, each ended by "\n". A well-formed line starts with a capital (after an opening quote, if any), holds
    letters, blanks and , . ; : ! ? ' ’ - alone, no two blanks in a row, and no word three times in a row. A rhyme counts if
    both lines are well-formed, in metre or not.

    Args:
        metre: of a line in metre, >= 0. Metre is that of `Metre()`.
        rhyme: of a couplet that rhymes, >= 0.

    Raises:
        ValueError: if a reward is negative or not finite.

    Example:
        >>> reward = CoupletReward()
        >>> couplet = "So long as men can breathe, or eyes can see,\nSo long lives this, and this gives life to thee.\n"
        >>> reward([couplet, "The cat\nThe mat.\n", "what\n"])
        [(1.0, 3.0), (0.0, 2.0), (0.0, 0.0)]
        >>> reward.forbid(["So long lives this, and this gives life to thee."])
        >>> reward([couplet, couplet])
        [(0.5, 0.0), (0.5, 0.0)]
    """

    def __init__(self, metre: float = 1.0, rhyme: float = 2.0) -> None:
        for name, value in (("metre", metre), ("rhyme", rhyme)):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is a reward of 0 or more, got {value}")
        self.metre, self.rhyme = float(metre), float(rhyme)
        self._metre, self._rhyme = Metre(), Rhyme()
        self._forbidden: set[str] = set()

    def __repr__(self) -> str:
        return f"CoupletReward(metre={self.metre}, rhyme={self.rhyme})"

    def forbid(self, lines: Iterable[str]) -> None:
        """Lines that earn nothing from now on, such as those that a model has learned from."""
        self._forbidden.update(map(_key, lines))

    def __call__(self, texts: Sequence[str]) -> list[tuple[float, float]]:
        """What the first and the second line of each text earn: n pairs."""
        lines = [_lines(text) for text in texts]
        keys = [(_key(first), _key(second)) for first, second in lines]
        times = Counter(key for both in keys for key in both)
        rewards = []
        for pair, (first, second) in zip(lines, keys, strict=True):
            outcome = self._outcome(pair, (first, second))
            new = [not copied for copied in outcome.copied]
            one = self.metre * (outcome.metre[0] and new[0])
            two = self.metre * (outcome.metre[1] and new[1]) + self.rhyme * (outcome.rhyme and all(new))
            rewards.append((one / times[first], two / times[second]))
        return rewards

    def outcomes(self, texts: Sequence[str]) -> list[Outcome]:
        """What became of each text, whatever the others are."""
        return [self._outcome(pair, (_key(pair[0]), _key(pair[1]))) for pair in map(_lines, texts)]

    def knows(self, piece: str) -> bool:
        r"""Whether a piece of text may be part of a couplet: "\n", the marks of a line, and words that can be said.

        Args:
            piece: what a token spells: a word, with a blank before it or without, an ending such as "'d", or marks. Of single
                letters, only I, O, A and a.

        Example:
            >>> reward = CoupletReward()
            >>> [reward.knows(piece) for piece in (" summer", "'st", "--", " I", "b", "&", " slithy")]
            [True, True, True, True, False, False, False]
        """
        if _MARKS.fullmatch(piece):
            return True
        match = _WORD.fullmatch(piece)
        if match is None:
            return False
        word = match[1]
        if len(word) == 1:
            return word in _LETTERS
        return word.replace("’", "'") in _ENDINGS or knows(word.strip("-"))

    def features(self, piece: str) -> list[str]:
        """Names of what a piece shares with others: stress patterns and rhymes of the word that it spells.

        Example:
            >>> CoupletReward().features(" away")
            ['stress 01', 'rhyme EY']
        """
        match = _WORD.fullmatch(piece)
        if match is None or not self.knows(piece):
            return []
        found = pronunciations(match[1])
        return list(
            dict.fromkeys([f"stress {each.stresses}" for each in found] + [f"rhyme {each.rhyme}" for each in found])
        )

    def scan(self, line: str) -> str | None:
        """The marks of a line in metre, one a syllable; None: not in metre."""
        return self._metre.scan(line)

    def rhymes(self, first: str, second: str) -> bool:
        """Whether two lines rhyme."""
        return self._rhyme.fits(first, second)

    def syllables(self, word: str) -> int | None:
        """How many syllables a word has if all its ways of being said agree; None otherwise."""
        counts = {len(each.stresses) for each in pronunciations(word)}
        return counts.pop() if len(counts) == 1 else None

    def _outcome(self, lines: tuple[str, str], keys: tuple[str, str]) -> Outcome:
        well_formed = _is_line(lines[0], keys[0]), _is_line(lines[1], keys[1])
        metre = (
            well_formed[0] and self._metre.fits(lines[0]),
            well_formed[1] and self._metre.fits(lines[1]),
        )
        rhyme = all(well_formed) and self._rhyme.fits(*lines)
        return Outcome(metre, rhyme, well_formed, (keys[0] in self._forbidden, keys[1] in self._forbidden))


def _lines(text: str) -> tuple[str, str]:
    """The two lines of a text, "" for one that is not ended; two times "" if there is more than two lines."""
    first, *more = text.split("\n")
    if len(more) == 2 and not more[1]:
        return first, more[0]
    return (first, "") if len(more) == 1 else ("", "")


def _key(line: str) -> str:
    """A line without case and marks."""
    return " ".join(words_of(line)).lower().replace("'", "").replace("’", "")


def _is_line(line: str, key: str) -> bool:
    if _LINE.fullmatch(line) is None or "  " in line:
        return False
    words = key.split(" ")
    return not any(a == b == c for a, b, c in zip(words, words[1:], words[2:], strict=False))
