"""Iambic verse: whether a line's syllables can be read as weak, strong, weak, strong.

The rules are those of generative metrics, kept to what a dictionary can tell (Halle and Keyser 1966, "Chaucer and the study of
prosody", College English 28:187; Attridge 1982, "The rhythms of English poetry"):

- the primary stress of a word of several syllables stands in a strong place, and the syllables beside it in weak ones;
- its other syllables may stand anywhere, so that "memory" may end a line strongly;
- a word of one syllable may stand anywhere;
- each word may be said in any of its ways (`pronunciations`).
"""

import re

from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.text.verse.pronunciations import pronunciations

_WORD = re.compile(r"['’]?[^\W_]+(?:['’][^\W_]+)*['’]?")
_FREE = "*"
_CACHED = 1 << 16  # words


def words_of(line: str) -> list[str]:
    """The words of a line: letters, with the apostrophes inside and around them; hyphens and blanks part them.

    Example:
        >>> words_of("'Tis self-love, th' adulterer's")
        ["'Tis", 'self', 'love', "th'", "adulterer's"]
    """
    return _WORD.findall(line)


def _pattern(stresses: str) -> str:
    """What each syllable demands of its place: "/" strong, "x" weak, "*" nothing."""
    if len(stresses) < 2 or "1" not in stresses:
        return _FREE * len(stresses)
    marks = [_FREE] * len(stresses)
    for place, stress in enumerate(stresses):
        if stress == "0" and "1" in stresses[max(0, place - 1) : place + 2]:
            marks[place] = "x"
        elif stress == "1":
            marks[place] = "/"
    return "".join(marks)


class Metre:
    """Iambic lines of a number of feet.

    Args:
        feet: 1 or more; five are a pentameter.
        strict: whether only x/x/x/x/x/ is allowed. Otherwise a line may also end in one weak syllable more, and may begin with
            "/x" in place of "x/".

    Raises:
        ValueError: if `feet` is less than 1.

    Example:
        >>> metre = Metre()
        >>> metre.scan("Shall I compare thee to a summer's day?")
        'x/x/x/x/x/'
        >>> metre.scan("To be, or not to be: that is the question"), metre.scan("Music to hear, why hear'st thou music sadly?")
        ('x/x/x/x/x/x', '/xx/x/x/x/x')
        >>> metre.fits("What happened to the evening train to Boston yesterday?")
        False
    """

    def __init__(self, feet: int = 5, strict: bool = False) -> None:
        check_at_least(1, feet=feet)
        self.feet, self.strict = feet, strict
        line = "x/" * feet
        # in the order in which `scan` prefers them
        self.allowed = (line,) if strict else (line, line + "x", "/x" + line[2:], "/x" + line[2:] + "x")
        self._width = 2 * feet + 2  # bits for the places of one allowed pattern
        self._start = sum(1 << index * self._width for index in range(len(self.allowed)))
        self._ends = [1 << index * self._width + len(pattern) for index, pattern in enumerate(self.allowed)]
        self._words: dict[str, frozenset[str]] = {}
        self._next: dict[tuple[int, frozenset[str]], int] = {}

    def __repr__(self) -> str:
        return f"Metre(feet={self.feet}, strict={self.strict})"

    def fits(self, line: str) -> bool:
        """Whether the line is in metre. A line with an unknown word is not, nor is one without words."""
        return self.scan(line) is not None

    def scan(self, line: str) -> str | None:
        """The first allowed pattern that the line fits, "x" for a weak syllable and "/" for a strong one; None if none."""
        places = self._start
        words, following = self._words, self._next
        found = _WORD.findall(line)
        for word in found:
            patterns = words.get(word)
            if patterns is None:
                if len(words) >= _CACHED:
                    words.clear()
                patterns = words[word] = frozenset(_pattern(each.stresses) for each in pronunciations(word))
            step = (places, patterns)
            after = following.get(step)
            if after is None:
                after = following[step] = self._after(places, patterns)
            if not after:
                return None
            places = after
        for end, pattern in zip(self._ends, self.allowed, strict=True):
            if places & end:
                return pattern if found else None
        return None

    def unknown(self, line: str) -> list[str]:
        """The words of the line that cannot be said, in their order."""
        return [word for word in words_of(line) if not pronunciations(word)]

    def _after(self, places: int, patterns: frozenset[str]) -> int:
        """The places that may be reached by a word: bit `index * width + syllables` stands for a place of a pattern."""
        reached = 0
        for index, allowed in enumerate(self.allowed):
            for place in range(len(allowed) + 1):
                if not places >> index * self._width + place & 1:
                    continue
                for pattern in patterns:
                    rest = allowed[place : place + len(pattern)]
                    if len(rest) == len(pattern) and all(a in (_FREE, b) for a, b in zip(pattern, rest, strict=True)):
                        reached |= 1 << index * self._width + place + len(pattern)
        return reached
