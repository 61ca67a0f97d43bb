"""Rhyme: the same sounds from the last stressed vowel on, after different consonants."""

from discrete_lightning.text.verse.metre import words_of
from discrete_lightning.text.verse.pronunciations import pronunciations

_CACHED = 1 << 16  # words


class Rhyme:
    """Whether lines rhyme by their last words, in any of the ways to say them.

    A word does not rhyme with itself, nor with one that sounds the same or begins its rhyming syllable with the same consonants
    ("light" and "delight"); a word that is not known rhymes with none.

    Example:
        >>> rhyme = Rhyme()
        >>> rhyme.fits("So long as men can breathe, or eyes can see,", "So long lives this, and this gives life to thee.")
        True
        >>> rhyme.fits("a summer's day", "another day"), rhyme.fits("the light", "delight"), rhyme.fits("brave", "have")
        (False, False, False)
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, frozenset[tuple[str, str]]]] = {}

    def __repr__(self) -> str:
        return "Rhyme()"

    def fits(self, a: str, b: str) -> bool:
        """Whether two lines, or words, rhyme."""
        (word, ways), (other, others) = self._last(a), self._last(b)
        if word == other:
            return False
        return any(rhyme == same and onset != before for rhyme, onset in ways for same, before in others)

    def _last(self, line: str) -> tuple[str, frozenset[tuple[str, str]]]:
        words = words_of(line[-40:]) or words_of(line)
        if not words:
            return "", frozenset()
        word = words[-1]
        found = self._known.get(word)
        if found is None:
            if len(self._known) >= _CACHED:
                self._known.clear()
            ways = frozenset((each.rhyme, each.onset) for each in pronunciations(word) if each.rhyme)
            found = self._known[word] = (word.lower().replace("’", "'").strip("'"), ways)
        return found
